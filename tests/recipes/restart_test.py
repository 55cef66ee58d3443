"""A run that is killed again and again ends with the same bits as one that was left alone."""

import signal

import numpy as np
from safetensors.numpy import load_file

from mobilebert_jax.training.metrics import read_metrics
from tests.recipes.tiny_run import BOUNDARY, STEPS

KILLED, STOPPED = -signal.SIGKILL, 42
MAY_DIFFER = {"data_wait", "examples_per_second", "tokens_per_second", "seconds"}


def newest(workdir, phase):
    """The step of the newest finished checkpoint, 0 without one."""
    folder = workdir / phase / "checkpoints"
    return max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0)


def training_lines(workdir, phase):
    lines = read_metrics(workdir / phase / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in MAY_DIFFER} for line in lines if "heldout" not in line]


def test_a_run_killed_and_stopped_in_many_places_ends_with_the_same_bits(finished_run, tiny_run):
    workdir = tiny_run.folder / "killed"
    # While the tokenizer is being written: what is half there is made anew.
    code, _ = tiny_run.interrupt((workdir / "data" / "tokenizer" / "tokenizer.json").exists, signal.SIGKILL, workdir)
    assert code == KILLED
    # In the middle of block 0. Saving at every step makes the steps long enough to be hit.
    often = "--config.transfer.save_every=1"
    code, _ = tiny_run.interrupt(lambda: newest(workdir, "transfer") >= 2, signal.SIGKILL, workdir, often)
    assert code == KILLED
    assert 2 <= newest(workdir, "transfer") < BOUNDARY
    # Exactly at the stage's boundary: the only checkpoint the next run writes before its last.
    slow = ("--config.transfer.save_every=0", "--config.transfer.evaluate_every=1")
    many = "--config.transfer.evaluate_batches=60"
    code, _ = tiny_run.interrupt(lambda: newest(workdir, "transfer") >= BOUNDARY, signal.SIGKILL, workdir, *slow, many)
    assert code == KILLED
    assert newest(workdir, "transfer") == BOUNDARY
    # In distillation.
    often = "--config.distill.save_every=1"
    code, _ = tiny_run.interrupt(lambda: newest(workdir, "distill") >= 3, signal.SIGKILL, workdir, often)
    assert code == KILLED
    assert 3 <= newest(workdir, "distill") < STEPS["distill"]
    # A polite signal in fine-tuning saves the state.
    often = "--config.finetune.save_every=1"
    code, error = tiny_run.interrupt(lambda: newest(workdir, "finetune") >= 1, signal.SIGTERM, workdir, often)
    assert code == STOPPED
    assert "stopped: received SIGTERM; finetune is saved at step" in error
    assert 1 <= newest(workdir, "finetune") < STEPS["finetune"]

    tiny_run.finish("run", workdir)
    for folder in ("teacher/model", "transfer/model", "distill/model", "finetune/model", "model"):
        killed, whole = (load_file(each / folder / "model.safetensors") for each in (workdir, finished_run))
        assert killed.keys() == whole.keys()
        differing = [name for name in whole if not np.array_equal(killed[name], whole[name])]
        assert not differing, folder
    for phase in STEPS:
        assert training_lines(workdir, phase) == training_lines(finished_run, phase), phase
    results = [(each / "finetune" / "results.json").read_text() for each in (workdir, finished_run)]
    assert results[0] == results[1]
