"""`bench finetune`: both sides make the same step; without the other side's libraries it says what to install."""

import importlib.util
import json

import pytest

from mobilebert_jax.cli.main import main
from tests.recipes.tiny_run import SIZES

THERE = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
TINY = [f"--config.model.student.{name}={size}" for name, size in SIZES.items()]
TINY += ["--config=demo", "--config.model.student.intra_bottleneck_size=16", "--config.data.vocab_size=120"]
WORDS = ["bench", "finetune", *TINY, "--batch_size=2", "--sequence_length=32", "--repeats=2"]


@pytest.mark.skipif(THERE, reason="both are installed")
def test_without_torch_it_says_what_to_install(capsys):
    assert main(WORDS) == 2
    assert capsys.readouterr().err.endswith("pip install 'mobilebert-jax[parity]'\n")


@pytest.mark.skipif(not THERE, reason="needs torch and transformers")
def test_both_sides_learn_the_same(capsys):
    assert main([*WORDS, "--config.finetune.optimizer.bias_correction=True", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loss_error"]["first"] < 1e-5 and report["loss_error"]["last"] < 1e-3
    assert report["ratio"] == pytest.approx(report["seconds"]["transformers"] / report["seconds"]["ours"])


def test_a_window_that_the_model_has_no_positions_for_is_refused(capsys):
    assert main([*WORDS[:-3], "--sequence_length=49"]) == 2
    assert "--sequence_length=49: the model has 48 positions" in capsys.readouterr().err
