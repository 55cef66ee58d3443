"""SIGTERM and Ctrl-C: whatever a run is doing, it leaves with 42 and goes on later as if nothing had been."""

import random
import re
import signal
import time
from pathlib import Path

import pytest

from mobilebert_jax.utils.files import read_json
from tests.recipes.kill_run import differences, end_at, moments

STOPPED = 42
AWKWARD = (
    "training the tokenizer",
    "teacher: compiling its step",
    "transfer: evaluating",
    "distill: saving",
    "finetune: writing its model",
)


def is_ready(process):
    """Whether the process has a handler for SIGTERM, as its status says; Python itself has one for Ctrl-C alone."""
    try:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[1]
    except (OSError, TypeError):
        return False
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to see when a handler is there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_right_after_the_start_leaves_with_nothing_half_done(tiny_run, tmp_path, number):
    process = tiny_run.start("run", tmp_path / "run")
    deadline = time.monotonic() + 60
    while not is_ready(process) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == STOPPED, error
    assert f"received {number.name}; the text is not prepared yet; start the same command again" in error
    assert not list((tmp_path / "run").rglob(".*"))


def test_a_run_that_is_stopped_at_awkward_moments_ends_like_one_that_was_left_alone(finished_run, tiny_run):
    workdir = tiny_run.folder / "stopped"
    config = read_json(finished_run / "config.json")["config"]
    for moment in moments(config, random.Random(0)):
        if moment.name in AWKWARD:
            code = end_at(moment, tiny_run.start("run", workdir), workdir, signal.SIGTERM)[2]
            assert code == STOPPED, moment.name
    tiny_run.finish("run", workdir)
    # A polite stop saves wherever it comes, so other steps may be kept.
    assert [each for each in differences(workdir, finished_run) if "/checkpoints/" not in each] == []


def test_a_second_ctrl_c_leaves_at_once(tiny_run, tmp_path):
    workdir = tmp_path / "run"
    # So much to evaluate that the first signal alone would take its time in the batch at hand.
    process = tiny_run.start("run", workdir, "--config.teacher.batch_size=512", "--config.teacher.accumulation=1")
    deadline = time.monotonic() + 120
    while not (workdir / "teacher" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    error = process.communicate(timeout=60)[1]
    assert time.monotonic() - began < 2
    assert process.returncode == -signal.SIGINT
    assert "stopping at the next chance; again to leave at once" in error
