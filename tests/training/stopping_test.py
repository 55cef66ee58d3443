import os
import signal
import threading
import time

import pytest

from mobilebert_jax.training import stopping
from mobilebert_jax.training.stopping import SharedStopper, Stopper, agreed_reason, given_up, interruptible
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


def test_one_process_asks_nobody_whether_to_stop():
    asked = _Asked()
    with SharedStopper(asked) as stopper:
        assert stopper is asked
        assert agreed_reason(stopper) is None
        asked.reason = "received SIGTERM"
        assert agreed_reason(stopper) == "received SIGTERM"


@pytest.fixture
def two(monkeypatch):
    """As if there were another process; what this one tells it, and what that one tells this."""
    told, heard = {}, {}
    monkeypatch.setattr(stopping, "WATCH", 0.01)
    monkeypatch.setattr(stopping.processes, "several", lambda: True)
    monkeypatch.setattr(stopping.processes, "tell", told.__setitem__)
    monkeypatch.setattr(stopping.processes, "told", heard.get)
    yield told, heard
    stopping._left.clear()


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_reason_to_stop_is_told_to_the_other_processes(two):
    asked = _Asked()
    with SharedStopper(asked) as stopper:
        assert stopper.reason is None
        asked.reason = "the time limit is reached"
        wait_until(lambda: two[0])
    assert list(two[0].values()) == ["the time limit is reached"]


def test_another_processes_reason_is_heard(two):
    with SharedStopper(_Asked()) as stopper:
        two[1][stopping._ASKED] = "received SIGTERM"
        wait_until(lambda: stopper.reason)
        assert stopper.reason == "another process was asked (received SIGTERM)"


@pytest.mark.parametrize(
    ("others", "error"), [(["done"], None), ([""], "another process was asked to stop; undone"), (["failed"], "failed")]
)
def test_work_done_together_is_given_up_where_any_process_gives_it_up(two, monkeypatch, others, error):
    monkeypatch.setattr(stopping.processes, "exchange", lambda own: [own, *others])
    if error is None:
        assert interruptible(lambda: 7, _Asked(), "undone", together=True) == 7
        return
    with pytest.raises(Stopped if others == [""] else RuntimeError, match=error):
        interruptible(lambda: 7, _Asked(), "undone", together=True)
    assert given_up() == (others == [""])
