import json

from mobilebert_jax.bench import data as module
from mobilebert_jax.cli.main import main


def test_rates_sizes_and_padding_of_every_kind(tiny_run, monkeypatch, capsys):
    monkeypatch.setattr(module, "LENGTHS", {16: 2, 24: 4})
    monkeypatch.setattr(module, "STEPS", 12)
    monkeypatch.setattr(module, "LOGGED", 4)
    monkeypatch.setattr(module, "BATCHES", 2)
    assert main(["bench", "data", "--json", "--repeats=1", *tiny_run.words]) == 0
    found = json.loads(capsys.readouterr().out)
    prepared = found["prepare"]
    text = (tiny_run.folder / "corpus.txt").read_text().split("\n\n")
    assert prepared["text_bytes"] == sum(len(document.strip().encode()) for document in text)
    assert prepared["ratio"] > 0 and prepared["memory"] > 2**20
    assert 2 < prepared["bytes_per_token"] < 4, "headers weigh in a small store"
    assert [(row["sequence_length"], row["kind"]) for row in found["examples"]] == [
        (length, kind) for length in (16, 24) for kind in module.KINDS
    ]
    assert all(row["examples_per_second"] > 0 and row["loop"] > 0 for row in found["examples"])
    assert all(0 <= row["padding"] < 0.5 for row in found["examples"])
    assert main(["bench", "data", "--repeats=1", *tiny_run.words]) == 0
    out = capsys.readouterr().out
    assert "encode_batch_fast alone" in out and out.count("packed") == 4


def test_a_bad_corpus_is_one_line(capsys):
    assert main(["bench", "data", "--config=demo", "--config.data.corpus=nowhere.txt"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "nowhere.txt" in captured.err and captured.err.count("\n") == 1
