"""The recipe on packed rows: every phase learns, held-out figures have no next sentence, the page shows the rows."""

import json

import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.data import prepare, pretraining_examples
from mobilebert_jax.text.packed_examples import PackedExamples
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.stopping import Stopper

PACKING = ["data.packing=true", "teacher.next_sentence=0", "distill.next_sentence=0"]
CHANGES = [*PACKING, "data.whole_word=true", "distill.accumulation=2", "finetune.questions="]


@pytest.fixture(scope="module")
def packed_run(tiny_run):
    """The folder of a packed run, and how many steps each of its phases had."""
    steps = {"teacher": 3, "transfer": 6, "distill": 3}
    workdir = tiny_run.folder / "packed"
    words = [*CHANGES, *(f"{phase}.steps={number}" for phase, number in steps.items())]
    tiny_run.finish("run", workdir, *(f"--config.{word}" for word in words))
    return workdir, steps


def test_every_phase_learns_from_packed_rows(packed_run):
    workdir, steps = packed_run
    for phase, number in steps.items():
        lines = read_metrics(workdir / phase / "metrics.jsonl")
        trained = [line for line in lines if "heldout" not in line]
        assert [line["step"] for line in trained] == list(range(1, number + 1))
        assert all(np.isfinite(line["grad_norm"]) for line in trained) and trained[-1]["grad_norm"] > 0
        figures = [line["heldout"] for line in lines if "heldout" in line]
        assert figures and not any("next_sentence" in name for line in lines for name in (*line, *figures[0]))
        assert "hidden" in figures[-1] if phase == "transfer" else figures[-1]["masked_lm"] > 0
    stages = [line["stage"] for line in read_metrics(workdir / "transfer" / "metrics.jsonl") if "stage" in line]
    assert sorted(set(stages)) == ["block 0", "block 1"]


def test_the_finished_student_and_the_page_are_there(packed_run):
    workdir, _ = packed_run
    assert (workdir / "model" / "model.safetensors").is_file()
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert "<hr>" in page and "[CLS]" not in page
    assert json.loads((workdir / "config.json").read_text())["config"]["data"]["packing"] is True


def test_the_config_decides_what_a_row_is(tiny_run, tmp_path):
    words = [word.removeprefix("--config.") for word in tiny_run.words]
    data = prepare(load_config("demo", words), tmp_path, Stopper())
    for changes, packed in (([], False), (PACKING, True)):
        config = load_config("demo", [*words, *changes])
        examples = pretraining_examples(config, config.teacher, data.heldout, data.tokenizer, seed=1)
        batch = examples.batch(0)
        assert isinstance(examples, PackedExamples) == packed == ("segment_ids" in batch)
        assert batch["input_ids"].shape == (4, 32) and batch["masked_ids"].shape == (4, 5)
