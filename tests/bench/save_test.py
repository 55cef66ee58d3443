"""`bench save` saves real states as the loop does, and tells what was measured and what went wrong."""

import json

import pytest

from mobilebert_jax.bench import save
from mobilebert_jax.bench.save import PARTS, print_head, print_row
from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.cli.main import main
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.utils.trees import count_parameters
from tests.training.cases import compiled_step

SMALL = [
    *[f"model.student.{name}" for name in ("num_hidden_layers=1", "hidden_size=32", "embedding_size=16")],
    *[f"model.student.{name}" for name in ("intra_bottleneck_size=16", "intermediate_size=24", "scan_unroll=1")],
    *["data.vocab_size=100", "distill.batch_size=2", "distill.sequence_length=16", "distill.max_predictions=2"],
]


def config():
    return load_config("demo", SMALL)


@pytest.fixture(autouse=True)
def quick_step(monkeypatch):
    monkeypatch.setattr(save, "make_step", compiled_step)


def test_a_networks_parameters_and_slots_are_saved_twice_a_round(monkeypatch, capsys):
    saved = []

    class Counting(Checkpoints):
        def save(self, step, *arguments):
            saved.append(step)
            super().save(step, *arguments)

    monkeypatch.setattr(save, "Checkpoints", Counting)
    words = [f"--config.{word}" for word in SMALL]
    assert main(["bench", "save", "--config=demo", "--networks=student", "--saves=2", "--json", *words]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["network"] == "student" and saved == list(range(6))  # the first round is practice
    cfg = ModelConfig.from_dict({**config().model.student.to_dict(), "vocab_size": 100})
    count = count_parameters(abstract_params(build_model(cfg, "pretraining")))
    # AdamW has two slots a parameter, and counts.
    assert 3 * 4 * count <= row["bytes"] < 3 * 4 * count + 1000
    seconds = row["seconds"]
    assert set(seconds) == set(PARTS) and min(seconds.values()) > 0
    assert seconds["hold"] < seconds["whole"]
    print_head(2)
    print_row(row)
    assert capsys.readouterr().out.splitlines()[-1].startswith("student")


@pytest.mark.parametrize(
    ("word", "message"), [("--saves=0", "--saves=0: must be at least 1"), ("--networks=all", "--networks=all: no such")]
)
def test_bad_words_are_one_line_and_exit_code_2(word, message, capsys):
    assert main(["bench", "save", "--config=demo", word]) == 2
    assert message in capsys.readouterr().err
