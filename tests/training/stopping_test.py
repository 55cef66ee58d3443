import os
import signal

import pytest

from mobilebert_jax.training import stopping
from mobilebert_jax.training.stopping import Stopper


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
