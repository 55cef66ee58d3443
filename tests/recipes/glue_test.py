"""GLUE at a run's end: what each task is trained with, and what is refused before anything begins."""

import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.glue import averages, check_glue, run_glue, task_config
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json
from tests.recipes.labels_model import save_encoder, write_rte

TINY = [
    "glue.tasks=('rte',)",
    "glue.sequence_length=16",
    "glue.rte=(8, 1e-3, 3)",
    "model.student.dtype=float32",
]


def config(folder, *overrides):
    return load_config("demo", [f"glue.dataset={folder}", *TINY, *overrides])


def test_a_task_s_preset_is_that_of_its_own_config():
    run, alone = (load_config(name, ["glue.dataset=glue"] if name == "mobilebert" else []) for name in NAMES)
    ours, theirs = task_config(run, "mrpc").finetune, alone.finetune
    for name in ("batch_size", "epochs", "sequence_length", "evaluate_every", "save_every", "select", "bucketing"):
        assert ours[name] == theirs[name]
    assert ours.optimizer == theirs.optimizer
    assert (ours.dataset, ours.questions) == ("glue", "")


NAMES = ("mobilebert", "glue:mrpc")


def test_a_student_becomes_a_model_of_each_task_once(tmp_path):
    glue = write_rte(tmp_path / "data")
    save_encoder(tmp_path / "run" / "distill" / "model")
    results = run_glue(config(glue), tmp_path / "run", Stopper())
    model = tmp_path / "run" / "glue" / "rte" / "model" / "model.safetensors"
    written = model.stat().st_mtime_ns
    assert results["rte"]["steps"] == 15 and results["rte"]["student"]["accuracy"] > 0
    assert averages(results)["average"] == results["rte"]["score"]
    assert run_glue(config(glue), tmp_path / "run", Stopper()) == results
    assert model.stat().st_mtime_ns == written
    settings = read_json(tmp_path / "run" / "glue" / "rte" / "config.json")["config"]["finetune"]
    assert settings["optimizer"]["learning_rate"] == 1e-3


def test_no_folder_no_tasks(tmp_path):
    assert run_glue(load_config("demo", []), tmp_path, Stopper()) == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("glue.tasks=('rtf',)", "'rtf' is none that a model is trained on; there are cola"),
        ("glue.tasks=('ax',)", "'ax' is none"),
        ("glue.tasks=('cola',)", "CoLA"),
        ("glue.rte=(8, 1e-3)", r"glue.rte=\(8, 0.001\): \(batch, learning rate, epochs\) are needed"),
        ("glue.rte=(0, 1e-3, 3)", "finetune.batch_size=0: must be at least 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_run(override, message, tmp_path):
    with pytest.raises(UserError, match=message):
        check_glue(config(write_rte(tmp_path), override))
