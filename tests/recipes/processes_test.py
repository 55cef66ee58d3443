"""A run of two processes, stopped by a signal to one of them, goes on anywhere as if nothing had been."""

import contextlib
import re
import shutil
import signal
import socket
import threading
import time

import pytest

from mobilebert_jax.training.metrics import read_metrics
from tests.recipes.tiny_run import XLA_FLAGS

STOPPED, BAD_INPUT = 42, 2
STEPS = 60
WORDS = (
    f"--config.teacher.steps={STEPS} --config.teacher.batch_size=8 --config.teacher.save_every=1000 "
    "--config.teacher.log_every=1 --config.teacher.evaluate_every=0"
).split()
ON_EIGHT = "--config.mesh.preset=fsdp --config.mesh.fsdp=2 --config.mesh.replicate_below=64".split()


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def devices(count):
    """XLA's flags for that many."""
    return f"{XLA_FLAGS} --xla_force_host_platform_device_count={count}"


@contextlib.contextmanager
def two_processes(tiny_run, workdir):
    """`pretrain` in two processes of four devices each."""
    place = f"--coordinator=localhost:{free_port()}"
    both = [
        tiny_run.start(
            "pretrain", workdir, *WORDS, *ON_EIGHT, place, "--num_processes=2", f"--process_id={number}", xla=devices(4)
        )
        for number in range(2)
    ]
    try:
        yield both
    finally:
        for process in both:
            process.kill()


def ends(both):
    """(exit code, stderr) of each process."""
    found = {}
    threads = [threading.Thread(target=lambda p=p: found.update({p: p.communicate(timeout=200)[1]})) for p in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(process.returncode, found[process]) for process in both]


def logged(workdir):
    """step -> its masked-LM loss."""
    lines = read_metrics(workdir / "teacher" / "metrics.jsonl")
    return {line["step"]: line["masked_lm"] for line in lines if "masked_lm" in line}


@pytest.fixture(scope="module")
def expected(tiny_run):
    """The losses of a run on one device that nothing disturbed."""
    workdir = tiny_run.folder / "undisturbed"
    tiny_run.finish("pretrain", workdir, *WORDS)
    return logged(workdir)


@pytest.fixture(scope="module")
def stopped(tiny_run):
    """The folder of two processes of which the second was asked to stop after some steps."""
    workdir = tiny_run.folder / "two-processes"
    with two_processes(tiny_run, workdir) as both:
        deadline = time.monotonic() + 200
        while len(logged(workdir)) < 3 and time.monotonic() < deadline and both[0].poll() is None:
            time.sleep(0.01)
        both[1].send_signal(signal.SIGTERM)
        (first, said), (second, whispered) = ends(both)
    assert (first, second) == (STOPPED, STOPPED), said + whispered
    assert re.search(r"stopped: another process was asked.*; teacher is saved at step \d+ of", said)
    assert "stopped" not in whispered.replace("stopping", "")
    return workdir


def same(found, expected):
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-4)


def test_both_save_one_common_step(stopped, expected):
    steps = [int(path.name) for path in (stopped / "teacher" / "checkpoints").iterdir()]
    assert len(steps) == 1
    assert 3 <= steps[0] < STEPS
    done = logged(stopped)
    assert list(done) == list(range(1, steps[0] + 1))
    same(done, {step: expected[step] for step in done})


@pytest.mark.parametrize(("count", "words"), [(8, ON_EIGHT), (1, ())])
def test_it_goes_on_in_one_process_with_eight_devices_or_one(tiny_run, tmp_path, stopped, expected, count, words):
    workdir = tmp_path / "run"
    shutil.copytree(stopped, workdir)
    process = tiny_run.start("pretrain", workdir, *WORDS, *words, xla=devices(count))
    error = process.communicate(timeout=200)[1]
    assert process.returncode == 0, error
    same(logged(workdir), expected)


def test_a_batch_that_the_mesh_does_not_divide_is_refused_once(tiny_run, tmp_path):
    words = ["--config.teacher.batch_size=12", "--num_processes=2"]
    place = f"--coordinator=localhost:{free_port()}"
    both = [
        tiny_run.start("pretrain", tmp_path / "run", *words, place, f"--process_id={number}", xla=devices(4))
        for number in range(2)
    ]
    (first, said), (second, whispered) = ends(both)
    assert (first, second) == (BAD_INPUT, BAD_INPUT)
    assert "mobilebert: teacher.batch_size=12: cannot be split over 8 devices" in said
    assert "mobilebert:" not in whispered
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_the_others_leave_alone_says_so(tiny_run, tmp_path, number):
    words = [f"--coordinator=localhost:{free_port()}", "--num_processes=2", f"--process_id={number}"]
    process = tiny_run.start("pretrain", tmp_path / "run", *words, "--coordinator_timeout=1")
    error = process.communicate(timeout=60)[1]
    assert process.returncode == BAD_INPUT
    assert error.startswith("mobilebert: --coordinator=localhost:") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [0, 1])
def test_so_does_one_that_finds_itself_in_a_cluster(tiny_run, tmp_path, number, monkeypatch):
    job = {"SLURM_JOB_ID": free_port(), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": 2}
    for name, value in {**job, "SLURM_PROCID": number, "SLURM_LOCALID": number}.items():
        monkeypatch.setenv(name, str(value))
    process = tiny_run.start("pretrain", tmp_path / "run", "--coordinator_timeout=1")
    error = process.communicate(timeout=60)[1]
    assert process.returncode == BAD_INPUT
    assert error.startswith("mobilebert: --coordinator=localhost:") and error.count("\n") == 1
