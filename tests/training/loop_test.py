"""The loop: any stop and any crash, anywhere, end in the parameters and the log of the run that never stopped."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from mobilebert_jax.training import loop
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.phase import Cadence
from mobilebert_jax.utils.errors import Stopped
from tests.recipes.kill_run import MAY_DIFFER
from tests.training.cases import BLOCK, EVERYTHING, assert_same_bits, compiled_step, step_of
from tests.training.phases import alone_phase, run, transfer_phase

STEPS, STAGE_ENDS = 12, (3, 6, 9, 12)


@pytest.fixture(autouse=True)
def one_compilation(monkeypatch):
    """Every run of these tests shares its steps' executables with all others."""
    monkeypatch.setattr(loop, "make_step", compiled_step)


@dataclasses.dataclass(frozen=True)
class Finished:
    folder: Path
    params: dict
    log: list


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The transfer phase run in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_step", compiled_step)
        return Finished(folder, run(transfer_phase(), folder), log(folder))


def log(folder):
    """metrics.jsonl without what clocks say."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in MAY_DIFFER} for line in lines]


def steps_of(lines, kind):
    return [line["step"] for line in lines if kind in line]


def saved_steps(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


@pytest.mark.parametrize("stop", [1, 6, 9, STEPS])
def test_a_stopped_run_continues_to_the_same_bits_and_the_same_log(uninterrupted, tmp_path, stop):
    """After the first step, at the end of a stage, where the program changes, and after the last step."""
    with pytest.raises(Stopped, match=f"asked to; transfer is saved at step {stop} of {STEPS}"):
        run(transfer_phase(), tmp_path, stop_after=stop)
    params = run(transfer_phase(), tmp_path)
    assert_same_bits(params, uninterrupted.params)
    assert log(tmp_path) == uninterrupted.log


def test_seconds_go_on_counting_where_a_stopped_run_left_off(tmp_path):
    with pytest.raises(Stopped):
        run(transfer_phase(), tmp_path, stop_after=6)
    run(transfer_phase(), tmp_path)
    seconds = [line["seconds"] for line in read_metrics(tmp_path / "metrics.jsonl") if "seconds" in line]
    assert len(seconds) == STEPS and seconds[0] > 0
    assert seconds == sorted(seconds)


def test_a_run_that_is_stopped_again_and_again_continues_to_the_same_bits(uninterrupted, tmp_path):
    phase = transfer_phase(cadence=Cadence(log=0, evaluate=0, save=0, keep=1))
    for stop in (1, 2, 3, 5, 9, 10, 11):
        with pytest.raises(Stopped):
            run(phase, tmp_path / "parts", stop_after=stop)
    assert_same_bits(run(phase, tmp_path / "parts"), uninterrupted.params)
    run(phase, tmp_path / "whole")
    # Each line is the mean over its whole stage, whoever made the stage's steps.
    assert log(tmp_path / "parts") == log(tmp_path / "whole")


@pytest.mark.parametrize("break_at", [1, 5])
def test_a_crash_costs_the_steps_since_the_last_checkpoint_and_leaves_no_line_twice(uninterrupted, tmp_path, break_at):
    with pytest.raises(KeyError, match="power cut"):
        run(transfer_phase(), tmp_path, break_at=break_at)
    assert_same_bits(run(transfer_phase(), tmp_path), uninterrupted.params)
    assert log(tmp_path) == uninterrupted.log


def test_a_crash_between_two_lines_leaves_no_step_out_of_their_means(tmp_path):
    phase = transfer_phase(cadence=Cadence(log=0, evaluate=0, save=2, keep=2))
    run(phase, tmp_path / "whole")
    for break_at in (3, 5, 11):
        with pytest.raises(KeyError):
            run(phase, tmp_path / "parts", break_at=break_at)
    run(phase, tmp_path / "parts")
    assert log(tmp_path / "parts") == log(tmp_path / "whole")


def test_logs_figures_and_checkpoints_come_as_often_as_asked_and_at_the_end_of_every_stage(uninterrupted, tmp_path):
    lines = uninterrupted.log
    assert steps_of(lines, "learning_rate") == list(range(1, STEPS + 1))
    assert steps_of(lines, "heldout") == [0, 2, 3, 4, 6, 8, 9, 10, 12]
    assert lines[1]["stage"] == "block 0" and lines[-2]["stage"] == "everything"
    run(transfer_phase(cadence=Cadence(log=2, evaluate=0, save=5, keep=9)), tmp_path)
    sparse = log(tmp_path)
    assert steps_of(sparse, "learning_rate") == [2, 3, 4, 6, 8, 9, 10, 12]
    assert steps_of(sparse, "heldout") == [0, *STAGE_ENDS]
    assert saved_steps(tmp_path) == [3, 5, 6, 9, 10, 12]
    every = {line["step"]: line for line in lines if "learning_rate" in line}
    means = next(line for line in sparse if line["step"] == 2 and "hidden" in line)
    np.testing.assert_allclose(means["hidden"], (every[1]["hidden"] + every[2]["hidden"]) / 2, rtol=1e-6)


def test_the_newest_checkpoints_are_kept_with_where_the_run_was(tmp_path):
    with pytest.raises(Stopped):
        run(transfer_phase(), tmp_path, stop_after=7)
    assert saved_steps(tmp_path) == [6, 7]
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    meta = {"phase": "transfer", "stage": "block 2", "step": 7, "teacher": {"path": "a/teacher"}}
    assert (checkpoints.latest_step(), checkpoints.meta(7)) == (7, meta)
    checkpoints.close()


def test_the_teacher_is_not_in_a_checkpoint(uninterrupted):
    trees = [path.read_text() for path in (uninterrupted.folder / "checkpoints").rglob("_METADATA")]
    assert trees and all("masked_lm" in tree and "teacher" not in tree for tree in trees)


def test_neither_the_teacher_nor_what_the_phase_started_from_is_donated_or_changed(tmp_path):
    phase = transfer_phase()
    given = phase.teacher, phase.init()
    before = jax.tree.map(np.array, given)
    run(phase, tmp_path)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(given))
    assert_same_bits(given, before)


def test_a_finished_phase_hands_out_its_parameters_without_a_step(uninterrupted):
    assert_same_bits(run(transfer_phase(), uninterrupted.folder, break_at=0), uninterrupted.params)
    assert log(uninterrupted.folder) == uninterrupted.log


@pytest.mark.parametrize("stop", [2, 5])
def test_dropout_and_microbatches_continue_to_the_same_bits(tmp_path, stop):
    expected = run(alone_phase(), tmp_path / "whole")
    with pytest.raises(Stopped):
        run(alone_phase(), tmp_path / "parts", stop_after=stop)
    assert_same_bits(run(alone_phase(), tmp_path / "parts"), expected)
    assert log(tmp_path / "parts") == log(tmp_path / "whole")


def test_stages_and_restarts_share_one_executable(tmp_path):
    for stop in (2, 5):
        with pytest.raises(Stopped):
            run(transfer_phase(), tmp_path, stop_after=stop)
    run(transfer_phase(), tmp_path)
    assert step_of(BLOCK)._cache_size() == step_of(EVERYTHING)._cache_size() == 1
