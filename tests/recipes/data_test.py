import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.data import check_examples, prepare, pretraining_examples
from mobilebert_jax.recipes.settings import phase_seed
from mobilebert_jax.text.tokenizer import Tokenizer
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
    assert np.array_equal(again.train.tokens, first.train.tokens)
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
    given = Tokenizer.train(["some words of another text"], 60)
    given.save(tmp_path / "given")
    config = tiny_config(tiny_run, f"data.tokenizer={tmp_path / 'given' / 'vocab.txt'}")
    data = prepare(config, tmp_path / "run", Stopper())
    assert data.tokenizer.fingerprint() == given.fingerprint()
    assert Tokenizer.load(tmp_path / "run" / "data" / "tokenizer").fingerprint() == given.fingerprint()
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
