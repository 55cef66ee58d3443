"""Reasons to stop between two steps: a signal, or the time being up."""

import os
import signal
import time


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
