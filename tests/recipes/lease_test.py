"""One job at a time in a bucket: a second one is refused, a dead one does not stand in the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mobilebert_jax.recipes import lease
from mobilebert_jax.recipes.lease import FOLDER, Lease
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.addresses import RemoteFolder
from mobilebert_jax.utils.errors import Stopped, UserError
from tests.recipes.tiny_run import PROJECT

HOLDER = """
import sys, time
from mobilebert_jax.recipes.lease import Lease
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.addresses import RemoteFolder
Lease(RemoteFolder(sys.argv[1], "--workdir"), sys.argv[1]).take(Stopper())
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.1)
    monkeypatch.setattr(lease, "PATIENCE", 0.8)
    monkeypatch.setattr(lease, "POLL", 0.02)


@pytest.fixture
def remote(bucket):
    return RemoteFolder(bucket, "--workdir")


def leases(remote):
    return sorted(name for name in remote.list() if name.startswith(FOLDER))


def left_by(remote, machine, pid=1, number=1):
    """What a job that was killed has left."""
    body = {"who": f"process {pid} on elsewhere", "pid": pid, "machine": machine}
    remote.write(f"{FOLDER}/{number:06d}", json.dumps(body).encode())


def test_a_second_job_is_refused_and_told_where_the_first_one_works(remote):
    first = Lease(remote, "--workdir=gs://b/run")
    first.take(Stopper())
    with pytest.raises(UserError, match=rf"^--workdir=gs://b/run: another job works there \(process {os.getpid()} on "):
        Lease(remote, "--workdir=gs://b/run").take(Stopper())
    first.check()
    first.release()
    assert leases(remote) == []
    second = Lease(remote, "--workdir=gs://b/run")
    second.take(Stopper())
    second.release()


def test_a_killed_job_of_this_machine_is_known_to_be_gone_at_once(remote, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 60.0)
    command = [sys.executable, "-c", HOLDER, remote.address]
    variables = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    began, next_one = time.monotonic(), Lease(remote, "run")
    next_one.take(Stopper())
    assert time.monotonic() - began < 5 and leases(remote) == [f"{FOLDER}/000002"]
    next_one.release()


def test_a_killed_job_of_another_machine_is_waited_for_once(remote, capsys):
    left_by(remote, "another machine")
    began, next_one = time.monotonic(), Lease(remote, "run")
    next_one.take(Stopper())
    assert 0.5 < time.monotonic() - began < 5
    assert "run: does the job there (process 1 on elsewhere) still work?" in capsys.readouterr().err
    next_one.release()
    left_by(remote, "another machine")
    time.sleep(0.9)
    began = time.monotonic()
    next_one = Lease(remote, "run")
    next_one.take(Stopper())
    assert time.monotonic() - began < 0.5 and capsys.readouterr().err == ""
    next_one.release()


def test_a_stop_ends_the_waiting(remote, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 60.0)
    left_by(remote, "another machine")
    with pytest.raises(Stopped, match="nothing was begun"):
        Lease(remote, "run").take(Stopper(max_minutes=0.1 / 60))
    assert leases(remote) == [f"{FOLDER}/000001"]


def test_of_many_who_start_at_once_one_works(remote):
    left_by(remote, "another machine", number=7)
    time.sleep(0.9)
    outcomes, together = [], threading.Barrier(4)

    def start():
        own = Lease(RemoteFolder(remote.address, "--workdir"), "run")
        together.wait()
        try:
            own.take(Stopper())
            outcomes.append(own)
        except UserError:
            outcomes.append(None)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (holder,) = [each for each in outcomes if each]
    holder.check()
    holder.release()
    assert leases(remote) == []


def test_a_job_that_was_taken_for_dead_notices_and_touches_nothing(remote):
    first = Lease(remote, "run")
    first.take(Stopper())
    left_by(remote, "another machine", number=2)  # as if this one had been silent for long
    deadline = time.monotonic() + 10
    with pytest.raises(UserError, match="run: another job has taken it over"):
        while time.monotonic() < deadline:
            first.check()
            time.sleep(0.01)
    first.release()
    assert f"{FOLDER}/000002" in leases(remote)


def test_after_a_silence_it_looks_before_it_goes_on(remote, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 60.0)
    first = Lease(remote, "run")
    first.take(Stopper())
    remote.remove(f"{FOLDER}/000001")
    left_by(remote, "another machine", number=2)
    first.check()
    time.sleep(0.9)
    with pytest.raises(UserError, match="taken it over"):
        first.check()
