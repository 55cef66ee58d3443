"""Reasons to stop between two steps: a signal, or the time being up."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from mobilebert_jax.utils.errors import Stopped

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds that what cannot be interrupted, such as a compilation, still has once a stop is asked for."""

_GIVEN_UP = "mobilebert: given up"
_left = threading.Event()


class HasReason(Protocol):
    """Whatever knows whether to stop."""

    @property
    def reason(self) -> str | None:
        """Why to stop now, or None."""


class Stopper:
    """Remembers SIGTERM and Ctrl-C instead of dying of them, and knows the time limit.

    Args:
        max_minutes: 0 for no limit.

    Attributes:
        began: `time.monotonic()` when it was made, which a command does first of all.
    """

    def __init__(self, max_minutes: float = 0.0):
        self.began = time.monotonic()
        self._deadline = self.began + 60 * max_minutes if max_minutes else None
        self._signal: str | None = None

    def install(self) -> None:
        """Takes SIGTERM and SIGINT; the second one of either acts as usual, at once.

        That is safe at any moment: files and checkpoints appear whole or not at all.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number, frame) -> None:
        self._signal = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)
        # Not print, which a signal may interrupt and must not enter twice.
        os.write(2, f"\nmobilebert: {self._signal}: stopping at the next chance; again to leave at once\n".encode())

    @property
    def reason(self) -> str | None:
        """Why to stop now, or None."""
        if self._signal:
            return f"received {self._signal}"
        if self._deadline is not None and time.monotonic() > self._deadline:
            return "the time limit is reached"
        return None


def stop_if_asked(stopper: HasReason, what: str) -> None:
    """Raises Stopped when there is a reason to; `what` says where that leaves things."""
    if stopper.reason:
        raise Stopped(f"{stopper.reason}; {what}")


def interruptible(work: Callable[[], T], stopper: HasReason, what: str) -> T:
    """`work()`, in a thread of its own, so that a stop need not wait for a compiler that nothing can interrupt.

    Work that goes on `PATIENCE` seconds after the reason to stop is given up: it ends with the process (`given_up`).

    Raises:
        Stopped: it was given up; `what` says where that leaves things. Otherwise whatever `work` raises.
    """
    outcome = attempt(work, stopper)
    if outcome is None:
        stop_if_asked(stopper, what)
    return result(outcome)


def attempt(work: Callable[[], T], stopper: HasReason) -> tuple[bool, T | BaseException] | None:
    """(True, value) or (False, error) of `work()` in a thread of its own; None where it is given up."""
    outcome: list[tuple[bool, T | BaseException]] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    asked: float | None = None
    while thread.is_alive():
        thread.join(0.05)
        if asked is None and stopper.reason:
            asked = time.monotonic()
        if asked is not None and time.monotonic() - asked > PATIENCE and not outcome:
            thread.name = _GIVEN_UP
            return None
    return outcome[0]


def result(outcome: tuple[bool, T | BaseException]) -> T:
    """The value of what `attempt` gave; raises its error."""
    done, value = outcome
    if not done:
        raise value
    return value


def leave_behind() -> None:
    """What was begun waits for another process, for ever: this one can only leave without waiting for it."""
    _left.set()


def given_up() -> bool:
    """Whether work that was given up is still going on; a process can then only leave without waiting for it."""
    return _left.is_set() or any(thread.name == _GIVEN_UP for thread in threading.enumerate())
