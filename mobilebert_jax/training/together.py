"""Stops that the processes of a run make together; `stopping`, which must not import JAX, knows one alone."""

import threading
from collections.abc import Callable
from typing import TypeVar

from mobilebert_jax.parallel import processes
from mobilebert_jax.training.stopping import HasReason, attempt, leave_behind, result, stop_if_asked
from mobilebert_jax.utils.errors import Stopped

T = TypeVar("T")

WATCH = 0.5
"""Seconds between two looks at whether another process was asked to stop."""

_ASKED = "mobilebert/asked"


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


def interruptible_together(work: Callable[[], T], stopper: HasReason, what: str) -> T:
    """`stopping.interruptible` for what all processes do: where one gives it up all do, for none could go on alone.

    Raises:
        Stopped: it was given up. RuntimeError: it failed in another process. Otherwise whatever `work` raises.
    """
    outcome = attempt(work, stopper)
    own = "" if outcome is None else "done" if outcome[0] else "failed"
    everybody = processes.exchange(own)
    if outcome is None:
        stop_if_asked(stopper, what)
    if own == "done" and "" in everybody:
        leave_behind()
        raise Stopped(f"{stopper.reason or 'another process was asked to stop'}; {what}")
    if own == "done" and "failed" in everybody:
        raise RuntimeError("another process has failed")
    return result(outcome)
