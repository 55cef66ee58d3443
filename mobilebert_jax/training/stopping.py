"""Reasons to stop between two steps: a signal, or the time being up."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from mobilebert_jax.parallel import processes
from mobilebert_jax.utils.errors import Stopped

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds that what cannot be interrupted, such as a compilation, still has once a stop is asked for."""

WATCH = 0.5
"""Seconds between two looks at whether another process was asked to stop."""

_GIVEN_UP = "mobilebert: given up"
_ASKED = "mobilebert/asked"
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
    """

    def __init__(self, max_minutes: float = 0.0):
        self._deadline = time.monotonic() + 60 * max_minutes if max_minutes else None
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


class SharedStopper:
    """A stopper that also hears, within a second, of a stop that another process of the run was asked for.

    When each process hears of it is left to chance: what all must decide alike, they decide by `agreed_reason`.
    """

    def __init__(self, own: HasReason):
        self._own, self._other, self._over = own, None, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def reason(self) -> str | None:
        """Why to stop now, or None."""
        return self._own.reason or self._other

    def __enter__(self) -> HasReason:
        if not processes.several():
            return self._own
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(WATCH):
            if self._own.reason:
                return processes.tell(_ASKED, self._own.reason)
            if reason := processes.told(_ASKED):
                self._other = f"another process was asked ({reason})"
                return None


def agreed_reason(stopper: HasReason) -> str | None:
    """The reason to stop, in every process if in any; all ask at the same moment, and wait for each other."""
    reason = stopper.reason
    if processes.any_process(reason is not None):
        return reason or "another process was asked to stop"
    return None


def interruptible(work: Callable[[], T], stopper: HasReason, what: str, together: bool = False) -> T:
    """`work()`, in a thread of its own, so that a stop need not wait for a compiler that nothing can interrupt.

    Work that goes on `PATIENCE` seconds after the reason to stop is given up: it ends with the process (`given_up`).
    `together`: all processes do it, and where one gives it up all do, for none could go on alone.

    Raises:
        Stopped: it was given up; `what` says where that leaves things. Otherwise whatever `work` raises.
    """
    outcome: list[tuple[bool, T | BaseException]] = []

    def run() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    _wait_for(thread, outcome, stopper)
    ended = outcome[:1]  # what comes later is too late
    if not ended:
        thread.name = _GIVEN_UP
    if together:
        _see_others(ended, stopper, what)
    if not ended:
        stop_if_asked(stopper, what)
    done, value = ended[0]
    if not done:
        raise value
    return value


def _wait_for(thread: threading.Thread, outcome: list, stopper: HasReason) -> None:
    """Until it has ended, or has gone on for too long after the reason to stop."""
    asked: float | None = None
    while thread.is_alive():
        thread.join(0.05)
        if asked is None and stopper.reason:
            asked = time.monotonic()
        if asked is not None and time.monotonic() - asked > PATIENCE and not outcome:
            return


def _see_others(ended: list, stopper: HasReason, what: str) -> None:
    """Raises Stopped where another process gave up, RuntimeError where one failed."""
    own = "" if not ended else "done" if ended[0][0] else "failed"
    everybody = processes.exchange(own)
    if own == "done" and "" in everybody:
        # What was begun waits for the other process for ever.
        _left.set()
        raise Stopped(f"{stopper.reason or 'another process was asked to stop'}; {what}")
    if own == "done" and "failed" in everybody:
        raise RuntimeError("another process has failed")


def given_up() -> bool:
    """Whether work that was given up is still going on; a process can then only leave without waiting for it."""
    return _left.is_set() or any(thread.name == _GIVEN_UP for thread in threading.enumerate())
