"""One run at a time in a bucket: a file that its holder writes again and again, and that is free once nobody does.

A lock of the kernel ends with its holder; a file in a bucket stays. Its age says whether its holder lives.
"""

import contextlib
import json
import os
import random
import socket
import sys
import threading
import time
from pathlib import Path

import psutil

from mobilebert_jax.training.stopping import HasReason, stop_if_asked
from mobilebert_jax.utils.addresses import RemoteFolder
from mobilebert_jax.utils.errors import UserError

FOLDER = ".lease"

BEAT = 15.0
"""Seconds between two writes of the holder."""

PATIENCE = 90.0
"""Seconds without one after which a lease is free."""

POLL = 1.0
"""Seconds between two looks at a lease that may be somebody's."""


class Lease:
    """`.lease/<number>` in a bucket's folder. The highest number holds; each is created by one process only."""

    def __init__(self, remote: RemoteFolder, name: str):
        self._remote, self._name = remote, name
        self._number, self._renewed, self._lost = 0, 0.0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def take(self, stopper: HasReason) -> None:
        """Takes it and keeps it until `release`; waits where the last holder may have died a moment ago.

        Raises:
            UserError: another process holds it. Stopped: asked to stop meanwhile.
        """
        while not self._tried(stopper):
            time.sleep(random.uniform(0, POLL))
        self._renewed = time.monotonic()
        self._thread.start()

    def check(self) -> None:
        """UserError if another process has taken it; asks anew after a time in which nothing could be written."""
        if time.monotonic() - self._renewed > PATIENCE:
            self._renew()
        if self._lost:
            raise UserError(f"{self._name}: another job has taken it over while this one could not be heard of")

    def release(self) -> None:
        """Gives it back."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(UserError):  # it ends by itself
            if not self._lost:
                self._remote.remove(_file(self._number))

    def _tried(self, stopper: HasReason) -> bool:
        """Whether it is ours now; False where somebody else was at it in the same moment."""
        before = self._listed()
        for number in before:
            if not self._is_over(number, stopper):
                raise UserError(
                    f"{self._name}: another job works there ({self._holder(number).get('who', 'unknown')}); wait for "
                    "its end, or give another one"
                )
        own = max(before, default=0) + 1
        if not self._remote.create(_file(own), _self()):
            return False
        if any(number not in before or version != before[number] for number, version in self._listed(own).items()):
            self._remote.remove(_file(own))
            return False
        for number in before:
            self._remote.remove(_file(number))
        self._number = own
        return True

    def _is_over(self, number: int, stopper: HasReason) -> bool:
        """Whether the holder lives no more: known at once on its own machine, else by its silence."""
        holder, first = self._holder(number), self._listed().get(number)
        if holder.get("machine") == _machine() != "" and not psutil.pid_exists(holder.get("pid", 0)):
            return True
        left = PATIENCE - self._age(number)
        if left > 0:
            who = holder.get("who", "unknown")
            print(f"{self._name}: does the job there ({who}) still work? asking for {left:.0f} s", file=sys.stderr)
        deadline = time.monotonic() + left
        while time.monotonic() < deadline:
            stop_if_asked(stopper, "nothing was begun")
            time.sleep(min(POLL, max(deadline - time.monotonic(), 0)))
            now = self._listed().get(number)
            if now != first:
                return now is None
        return True

    def _age(self, number: int) -> float:
        """Seconds since it was written, by the bucket's own clock."""
        probe = f"{FOLDER}/probe-{random.getrandbits(64):x}"
        self._remote.write(probe, b"")
        try:
            now, then = self._remote.modified(probe), self._remote.modified(_file(number))
        finally:
            self._remote.remove(probe)
        return PATIENCE if now is None or then is None else now - then

    def _holder(self, number: int) -> dict:
        try:
            return dict(json.loads(self._remote.read(_file(number)) or "{}"))
        except ValueError:
            return {}

    def _listed(self, without: int = 0) -> dict[int, str]:
        """Number -> version of the leases there are."""
        names = {Path(name).name: found.version for name, found in self._remote.list(FOLDER).items()}
        return {int(name): version for name, version in names.items() if name.isdigit() and int(name) != without}

    def _beat(self) -> None:
        while not self._over.wait(BEAT) and not self._lost:
            with contextlib.suppress(UserError):  # of a network that may come back
                self._renew()

    def _renew(self) -> None:
        self._lost = self._lost or max(self._listed(), default=0) != self._number
        if not self._lost:
            self._remote.write(_file(self._number), _self())
            self._renewed = time.monotonic()


def _file(number: int) -> str:
    return f"{FOLDER}/{number:06d}"


def _self() -> bytes:
    who = f"process {os.getpid()} on {socket.gethostname()}"
    return json.dumps({"who": who, "pid": os.getpid(), "machine": _machine()}).encode()


def _machine() -> str:
    """Where a number means the same process: this boot of this machine, or container on it; empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
