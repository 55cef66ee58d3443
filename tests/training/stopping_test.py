import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mobilebert_jax.training import stopping
from mobilebert_jax.training.stopping import Stopper, given_up, interruptible
from mobilebert_jax.utils.errors import Stopped


@pytest.fixture
def handlers():
    """Signal handlers are the process' own: put back what was there."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_and_the_next_one_acts_as_usual(handlers, number):
    stopper = Stopper()
    stopper.install()
    assert stopper.reason is None
    os.kill(os.getpid(), number)
    assert stopper.reason == f"received {number.name}"
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_stopper_that_is_not_installed_leaves_the_handlers_alone(handlers):
    before = signal.getsignal(signal.SIGTERM)
    assert Stopper(1.0).reason is None
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_time_limit_counts_minutes_from_the_start(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    limited, unlimited = Stopper(2.0), Stopper(0.0)
    now[0] = 1119.0
    assert limited.reason is None
    now[0] = 1121.0
    assert limited.reason == "the time limit is reached"
    assert unlimited.reason is None


class _Asked:
    """A stopper whose reason comes when it is set."""

    reason = None


def test_interruptible_work_gives_its_value_and_its_errors():
    assert interruptible(lambda: 7, _Asked(), "undone") == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0, _Asked(), "undone")
    assert not given_up()


def test_work_that_ends_soon_after_a_stop_is_asked_for_is_waited_for():
    stopper = _Asked()

    def work():
        stopper.reason = "asked to"
        time.sleep(0.3)
        return "done"

    assert interruptible(work, stopper, "undone") == "done"
    assert not given_up()


def test_work_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr(stopping, "PATIENCE", 0.2)
    stopper, release = _Asked(), threading.Event()
    stopper.reason = "asked to"
    try:
        with pytest.raises(Stopped, match=r"^asked to; undone$"):
            interruptible(release.wait, stopper, "undone")
        assert given_up()
    finally:
        release.set()
    deadline = time.monotonic() + 10
    while given_up() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not given_up()


def test_signals_can_be_taken_before_jax_is_imported():
    code = "import sys, mobilebert_jax.cli.main; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
