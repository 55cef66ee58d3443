"""Two runs in one workdir: the second is refused, and a killed one does not stand in the way."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mobilebert_jax.recipes.lock import NAME, locked
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import UNFINISHED
from tests.recipes.tiny_run import PROJECT

HOLDER = """
import sys, time
from mobilebert_jax.recipes.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`/run."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(PROJECT)}
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_the_first_ones_pid(holder, tmp_path):
    refused = rf"^--workdir={tmp_path}/run: another process \(pid {holder.pid}\) works there"
    with pytest.raises(UserError, match=refused), locked(tmp_path / "run"):
        raise AssertionError("two holders")
    assert holder.poll() is None


def test_a_killed_holder_leaves_the_folder_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists()
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"


def test_the_file_is_gone_at_the_end_even_of_a_failure(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        pass


def test_a_folder_that_was_made_for_the_lock_goes_with_it_unless_something_lies_there(tmp_path):
    with locked(tmp_path / "empty"):
        pass
    with locked(tmp_path / "used"):
        (tmp_path / "used" / "config.json").write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_second_run_ends_with_one_line_while_the_first_goes_on(tiny_run, tmp_path):
    workdir = tmp_path / "twice"
    first = tiny_run.start("run", workdir)
    deadline = time.monotonic() + 120
    while not (workdir / "config.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    for command in ("prepare", "run"):
        second = tiny_run.start(command, workdir)
        out, error = second.communicate(timeout=120)
        assert (second.returncode, out) == (2, "")
        assert error.startswith(f"mobilebert: --workdir={workdir}: another process (pid {first.pid}) works there")
        assert error.count("\n") == 1
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=120)
    assert first.returncode == 42
    assert not (workdir / ".lock").exists()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    half = tmp_path / "run" / "teacher" / f"{UNFINISHED}model-x" / "new"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    with locked(tmp_path / "run"):
        assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == [NAME, "teacher"]
