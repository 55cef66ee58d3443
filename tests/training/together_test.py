"""Stops over several processes, whose words to each other stand in a dictionary here."""

import time

import pytest

from mobilebert_jax.training import stopping, together
from mobilebert_jax.training.stopping import given_up
from mobilebert_jax.training.together import SharedStopper, agreed_reason, interruptible_together
from mobilebert_jax.utils.errors import Stopped


class _Asked:
    """A stopper whose reason comes when it is set."""

    reason = None


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
    monkeypatch.setattr(together, "WATCH", 0.01)
    monkeypatch.setattr(together.processes, "several", lambda: True)
    monkeypatch.setattr(together.processes, "tell", told.__setitem__)
    monkeypatch.setattr(together.processes, "told", heard.get)
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
        two[1][together._ASKED] = "received SIGTERM"
        wait_until(lambda: stopper.reason)
        assert stopper.reason == "another process was asked (received SIGTERM)"


@pytest.mark.parametrize(
    ("others", "error"), [(["done"], None), ([""], "another process was asked to stop; undone"), (["failed"], "failed")]
)
def test_work_done_together_is_given_up_where_any_process_gives_it_up(two, monkeypatch, others, error):
    monkeypatch.setattr(together.processes, "exchange", lambda own: [own, *others])
    if error is None:
        assert interruptible_together(lambda: 7, _Asked(), "undone") == 7
        return
    with pytest.raises(Stopped if others == [""] else RuntimeError, match=error):
        interruptible_together(lambda: 7, _Asked(), "undone")
    assert given_up() == (others == [""])
