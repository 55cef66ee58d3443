"""A disk that is full and a folder that refuses end a command in one line; signals end it with the state saved."""

import json
import resource
import signal
import subprocess
import time

import pytest

from mobilebert_jax.training.metrics import read_metrics

INTERRUPTED, STOPPED, BAD = -signal.SIGINT, 42, 2


def one_line(error):
    """What is left of stderr without the progress lines."""
    lines = [line for line in error.splitlines() if line.startswith(("mobilebert:", "Traceback", " "))]
    assert len(lines) == 1, error
    return lines[0]


def limited(tiny_run, workdir, size, *more):
    """(exit code, stderr) of a run none of whose files may grow beyond `size` bytes."""
    process = tiny_run.start("run", workdir, *more)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    error = process.communicate(timeout=300)[1]
    return process.returncode, error


@pytest.mark.parametrize("size", [100, 3000])
def test_a_full_disk_ends_the_run_in_one_line_and_nothing_half_written_stays(tiny_run, tmp_path, size):
    """config.json, then what comes after it: whatever meets the limit first."""
    workdir = tmp_path / "full"
    code, error = limited(tiny_run, workdir, size)
    assert code == BAD, error
    assert "File too large" in one_line(error)
    assert not (workdir / ".lock").exists()
    for path in workdir.rglob("*.json"):
        json.loads(path.read_text())
    assert not list(workdir.rglob("*.safetensors"))


def test_a_checkpoint_folder_that_cannot_be_written_stops_the_run_in_one_line(tiny_run, tmp_path):
    workdir = tmp_path / "blocked"
    tiny_run.finish("prepare", workdir)
    (workdir / "teacher").mkdir()
    (workdir / "teacher" / "checkpoints").write_text("a file where a folder should be")
    process = tiny_run.start("run", workdir)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == BAD, error
    assert "checkpoints" in one_line(error)


def test_a_workdir_below_a_file_is_refused_in_one_line(tiny_run, tmp_path):
    (tmp_path / "file").write_text("")
    process = tiny_run.start("run", tmp_path / "file" / "run")
    error = process.communicate(timeout=300)[1]
    assert process.returncode == BAD and "Not a directory" in one_line(error)


def test_a_signal_while_the_libraries_load_stops_before_anything_is_made(tiny_run, tmp_path):
    process = tiny_run.start("run", tmp_path / "early")
    time.sleep(0.7)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    error = process.communicate(timeout=300)[1]
    assert process.returncode in (STOPPED, -signal.SIGTERM), error
    assert time.monotonic() - began < 10


def test_a_signal_during_evaluation_saves_the_step_and_leaves_the_figures_for_later(tiny_run, tmp_path):
    """Evaluation takes nearly all of the time here, and saving is off: only the stop can have saved."""
    workdir = tmp_path / "evaluating"
    slow = ("--config.teacher.evaluate_batches=3000", "--config.teacher.evaluate_every=2")
    steady = ("--config.teacher.save_every=0", *slow)
    log = workdir / "teacher" / "metrics.jsonl"
    evaluating = lambda: log.exists() and any(line["step"] == 2 for line in read_metrics(log))  # noqa: E731
    code, error = tiny_run.interrupt(evaluating, signal.SIGTERM, workdir, *steady)
    assert code == STOPPED, error
    assert "teacher is saved at step 2 of 6" in error
    assert not any(line["step"] == 2 and "heldout" in line for line in read_metrics(log))


def test_a_second_interrupt_leaves_at_once_and_the_run_can_go_on(tiny_run, tmp_path):
    workdir = tmp_path / "twice"
    process = tiny_run.start("run", workdir, "--config.teacher.evaluate_batches=100000")
    log = workdir / "teacher"
    deadline = time.monotonic() + 200
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert time.monotonic() - began < 10
    assert process.returncode in (INTERRUPTED, STOPPED)
    tiny_run.finish("pretrain", workdir)
