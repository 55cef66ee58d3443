"""A run that is killed again and again ends with the same bits as one that was left alone."""

import random
import shutil
import signal

from mobilebert_jax.utils.files import read_json
from tests.recipes.kill_run import differences, end_at, metrics, moments
from tests.recipes.tiny_run import BOUNDARY, STEPS

KILLED, STOPPED = -signal.SIGKILL, 42


def newest(workdir, phase):
    """The step of the newest finished checkpoint, 0 without one."""
    folder = workdir / phase / "checkpoints"
    return max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0)


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
    # The settings above evaluate and save more often; nothing else may differ.
    assert [each for each in differences(workdir, finished_run) if each.startswith("not the same bytes")] == []
    for phase in STEPS:
        trained = [[line for line in metrics(each, phase) if "heldout" not in line] for each in (workdir, finished_run)]
        assert trained[0] == trained[1], phase


def test_a_run_killed_while_it_saves_evaluates_and_writes_its_models_leaves_nothing_behind(finished_run, tiny_run):
    workdir = tiny_run.folder / "killed-writing"
    config = read_json(finished_run / "config.json")["config"]
    picked = ("writing the token stores", "transfer: saving", "distill: writing its model", "finetune: scoring answers")
    for moment in moments(config, random.Random(0)):
        if moment.name in picked:
            assert end_at(moment, tiny_run.start("run", workdir), workdir)[2] == KILLED, moment.name
    tiny_run.finish("run", workdir)
    assert differences(workdir, finished_run) == []


def test_runs_that_differ_are_told_apart(finished_run, tiny_run):
    other = tiny_run.folder / "other"
    shutil.copytree(finished_run, other)
    assert differences(other, finished_run) == []
    (other / ".stray").touch()
    lines = (other / "teacher" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (other / "teacher" / "metrics.jsonl").write_text("".join(lines[:2] + lines[3:]))
    weights = other / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    expected = ["only in one: .stray", "not the same bytes: model/model.safetensors", "metrics of teacher"]
    assert differences(other, finished_run) == expected
