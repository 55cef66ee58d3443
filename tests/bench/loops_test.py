"""`bench finetune --task --peer`: both loops on the same windows."""

import importlib.util
import json

import pytest

from mobilebert_jax.cli.main import main
from tests.recipes.labels_model import save_encoder
from tests.recipes.tiny_run import SIZES, WORDS

THERE = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


@pytest.fixture
def words(tmp_path):
    save_encoder(tmp_path / "model")
    articles = []
    for number in range(30):
        passage = " ".join(WORDS[: 1 + number % 9])
        asked = [{"id": str(number), "question": "a?", "answers": [{"text": WORDS[0], "answer_start": 0}]}]
        articles.append({"title": str(number), "paragraphs": [{"context": passage, "qas": asked}]})
    (tmp_path / "q.json").write_text(json.dumps({"data": articles}))
    sizes = [f"--config.model.student.{name}={size}" for name, size in SIZES.items()]
    sizes += ["--config.model.student.intra_bottleneck_size=16", "--config.finetune.batch_size=4"]
    sizes += ["--config.finetune.max_query_length=4", "--config.finetune.sequence_length=24"]
    sizes += [f"--config.data.tokenizer={tmp_path / 'model'}", f"--dataset={tmp_path / 'q.json'}", "--repeats=2"]
    return ["bench", "finetune", "--peer", "--json", *sizes]


@pytest.mark.skipif(THERE, reason="both are installed")
def test_without_torch_it_says_what_to_install(words, capsys):
    assert main([*words, "--task=squad1"]) == 2
    assert capsys.readouterr().err.endswith("pip install 'mobilebert-jax[parity]'\n")


@pytest.mark.skipif(not THERE, reason="needs torch and transformers")
def test_their_two_ways_to_pad_stand_beside_ours(words, capsys):
    assert main([*words, "--task=squad1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["loops"]) == {"whole", "longest"}
    for own in report["loops"].values():
        assert own["ratio"] == pytest.approx(report["examples_per_second"]["buckets"] / own["rows_per_second"])


def test_what_has_no_such_loop_is_refused(words, capsys):
    assert main([*words, "--task=rte"]) == 2
    assert "--peer: is for squad1, squad2, not for rte" in capsys.readouterr().err
    assert main(["bench", "finetune", "--peer"]) == 2
    assert "--peer: without --task=squad1" in capsys.readouterr().err
