import json

import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.data import check_examples, prepare, pretraining_examples
from mobilebert_jax.recipes.run import prepare_run
from mobilebert_jax.recipes.settings import phase_seed
from mobilebert_jax.text.tokenizer import load_tokenizer, train_tokenizer
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import Stopped, UserError


def tiny_config(tiny_run, *changes):
    words = [word.removeprefix("--config.") for word in tiny_run.words]
    return load_config("demo", [*words, *changes])


def test_what_is_there_is_not_made_again(tiny_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mobilebert_jax.recipes.data.ANNOUNCE_AFTER", 10)
    config = tiny_config(tiny_run)
    first = prepare(config, tmp_path, Stopper())
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.name != "manifest.json"}
    again = prepare(config, tmp_path, Stopper())
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert again.tokenizer.fingerprint() == first.tokenizer.fingerprint()
    assert np.array_equal(again.train.tokens[0], first.train.tokens[0])
    assert capsys.readouterr().err.count("training a tokenizer") == 1


def test_a_tokenizer_of_a_killed_run_is_made_anew(tiny_run, tmp_path):
    config = tiny_config(tiny_run)
    whole = prepare(config, tmp_path / "whole", Stopper()).tokenizer
    folder = tmp_path / "killed" / "data" / "tokenizer"
    whole.save(folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_text("half a voc")
    assert prepare(config, tmp_path / "killed", Stopper()).tokenizer.fingerprint() == whole.fingerprint()
    assert (folder / "vocab.txt").read_text() == (tmp_path / "whole" / "data" / "tokenizer" / "vocab.txt").read_text()


def test_a_given_tokenizer_is_kept_with_the_run(tiny_run, tmp_path):
    given = train_tokenizer(["some words of another text"], 60)
    given.save(tmp_path / "given")
    config = tiny_config(tiny_run, f"data.tokenizer={tmp_path / 'given' / 'vocab.txt'}")
    data = prepare(config, tmp_path / "run", Stopper())
    assert data.tokenizer.fingerprint() == given.fingerprint()
    assert load_tokenizer(tmp_path / "run" / "data" / "tokenizer").fingerprint() == given.fingerprint()
    assert data.train.manifest["vocab_size"] == given.vocab_size


def test_a_reason_to_stop_is_heard_while_text_is_read(tiny_run, tmp_path):
    stopper = Stopper()
    stopper._signal = "SIGTERM"
    with pytest.raises(Stopped, match="received SIGTERM"):
        prepare(tiny_config(tiny_run), tmp_path, stopper)
    assert not list(tmp_path.rglob("manifest.json"))


def test_phases_and_sides_see_different_examples(tiny_run, tmp_path):
    config = tiny_config(tiny_run)
    data = prepare(config, tmp_path, Stopper())
    batches = []
    for name in ("teacher", "transfer", "distill"):
        seed = phase_seed(config, name)
        made = pretraining_examples(config, config[name], data.train, data.tokenizer, seed)
        again = pretraining_examples(config, config[name], data.train, data.tokenizer, seed)
        assert np.array_equal(made.batch(3)["input_ids"], again.batch(3)["input_ids"])
        batches.append(made.batch(3)["input_ids"].tobytes())
    assert len(set(batches)) == 3


def test_the_defaults_add_nothing_to_the_stores_but_the_text_s_fingerprint(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr("mobilebert_jax.text.python_docs.documents", lambda: tuple(f"The cat {i}." for i in range(9)))
    keys = {"version", "corpus", "tokenizer", "vocab_size", "heldout_fraction", "shard_bytes", "split", "sha256"}
    keys |= {"num_documents", "num_sentences", "num_tokens"}
    config = tiny_config(tiny_run)
    assert set(prepare(config, tmp_path / "text", Stopper()).train.manifest) == {*keys, "corpus_fingerprint"}
    config.data.corpus = "builtin:python-docs"
    assert set(prepare(config, tmp_path / "docs", Stopper()).train.manifest) == keys


def test_the_settings_choose_documents_and_belong_to_the_store(tiny_run, tmp_path):
    documents = (tiny_run.folder / "corpus.txt").read_text().split("\n\n")
    for name, part in (("a", documents[:40]), ("b", documents[20:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps({"body": text}) for text in part))
    config = tiny_config(tiny_run, "data.drop_duplicates=true", "data.min_characters=60", "data.max_documents=25")
    config.data.corpus = f"0.5*text:{tmp_path}/a.jsonl#body+0.5*text:{tmp_path}/b.jsonl#body"
    data = prepare(config, tmp_path / "run", Stopper())
    assert data.train.num_documents + data.heldout.num_documents == 25
    identity = {"drop_duplicates": True, "min_characters": 60, "max_documents": 25, "corpus": config.data.corpus}
    assert data.train.manifest | identity == data.train.manifest
    config.data.max_documents = 26
    data = prepare(config, tmp_path / "run", Stopper())
    assert data.train.num_documents + data.heldout.num_documents == 26


def test_a_run_goes_on_with_the_text_it_began_with_only(tiny_run, tmp_path):
    path, workdir = tmp_path / "a.txt", tmp_path / "run"
    path.write_bytes((tiny_run.folder / "corpus.txt").read_bytes())
    config = tiny_config(tiny_run, f"data.corpus={path}")
    first = prepare_run(config, workdir, Stopper()).train.manifest
    path.write_text(path.read_text() + "\n\nOne more document. It is short.\n")
    with pytest.raises(UserError, match=r"data.corpus: .* was started with another one \(\w{12}, now \w{12}\)"):
        prepare_run(config, workdir, Stopper())
    path.write_bytes((tiny_run.folder / "corpus.txt").read_bytes())
    assert prepare_run(config, workdir, Stopper()).train.manifest == first


def test_a_corpus_that_is_gone_is_not_needed_once_it_is_prepared(tiny_run, tmp_path, capsys):
    path, workdir = tmp_path / "a.txt", tmp_path / "run"
    path.write_bytes((tiny_run.folder / "corpus.txt").read_bytes())
    config = tiny_config(tiny_run, f"data.corpus={path}")
    first = prepare_run(config, workdir, Stopper()).train.manifest
    path.unlink()
    assert prepare_run(config, workdir, Stopper()).train.manifest == first
    assert "no such file" in (said := capsys.readouterr().err) and "going on with what was made of it before" in said
    for change in ("data.corpus=other.txt", "data.max_documents=9"):
        changed = tiny_config(tiny_run, f"data.corpus={path}", change)
        with pytest.raises(
            UserError, match="no such file" if "corpus" in change else "max_documents=9: .* was started"
        ):
            prepare_run(changed, workdir, Stopper())
    (workdir / "data" / "manifest.json").unlink()
    with pytest.raises(UserError, match="no such file"):
        prepare_run(config, workdir, Stopper())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("distill.max_predictions=33", "distill: max_predictions=33: 1 to sequence_length=32 is possible"),
        ("transfer.sequence_length=4", "transfer: sequence_length=4: 5 to 65536 is possible"),
        ("data.mask_probability=0", "teacher: mask_probability=0.0: a number above 0"),
    ],
)
def test_what_a_later_phase_could_not_read_is_noticed_before_the_first(tiny_run, tmp_path, change, message):
    config = tiny_config(tiny_run, change)
    with pytest.raises(UserError, match=message):
        check_examples(config, prepare(config, tmp_path, Stopper()))
