"""A disk that is full ends a command in one line."""

import json
import resource

import pytest

BAD = 2


def one_line(error):
    """What is left of stderr without the progress lines, and without what JAX says of its cache, these tests' own."""
    lines = [line for line in error.splitlines() if line.startswith(("mobilebert:", "Traceback", " "))]
    lines = [line for line in lines if "persistent compilation cache" not in line]
    assert len(lines) == 1, error
    return lines[0]


def limited(tiny_run, workdir, size, *more):
    """(exit code, stderr) of a run none of whose files may grow beyond `size` bytes."""
    process = tiny_run.start("run", workdir, *more)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    error = process.communicate(timeout=300)[1]
    return process.returncode, error


@pytest.mark.parametrize("size", [100, 3000, 20_000, 60_000])
def test_a_full_disk_ends_the_run_in_one_line_and_nothing_half_written_stays(tiny_run, tmp_path, size):
    """config.json, what comes after it, a checkpoint's small files, its arrays: whatever meets the limit first."""
    workdir = tmp_path / "full"
    code, error = limited(tiny_run, workdir, size)
    assert code == BAD, error
    assert "File too large" in one_line(error)
    assert str(workdir) in one_line(error)
    assert not (workdir / ".lock").exists()
    for path in workdir.rglob("*.json"):
        json.loads(path.read_text())
    assert not list(workdir.rglob("*.safetensors"))
