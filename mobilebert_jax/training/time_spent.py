"""time.jsonl: what a run's time went to, through every stop, kill and restart (its goodput)."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mobilebert_jax.parallel import processes
from mobilebert_jax.utils.faults import naming
from mobilebert_jax.utils.files import read_json_lines, write_text

NAME = "time.jsonl"

KINDS = ("init", "prepare", "compile", "data", "step", "evaluate", "checkpoint", "lost", "away")
"""What time goes to.

init: starting, reading models and checkpoints. prepare: text to tokens. compile: the first call of a step. data:
waiting for batches. step: training. evaluate: held-out figures, and answers that are scored. checkpoint: how long
saving held the run. lost: data and step of steps that were made anew after a restart. away: no process was there, or
one that was killed before it could write another line.
"""

REDONE = ("data", "step")
WORTH_SAYING = 0.001

Line = dict[str, Any]


class TimeSpent:
    """Counts seconds by kind, each moment in one: that of the innermost `spending`, `init` outside of all.

    Args:
        path: where `write` adds lines; None to count alone. Of several processes the first one writes.
        since: `time.monotonic()` of the moment to count from; None for now.
    """

    def __init__(self, path: str | Path | None = None, since: float | None = None):
        self._path = Path(path) if path and processes.is_first() else None
        self._earlier = read_time(self._path) if self._path else []
        self._account = _Account()
        for line in self._earlier:
            self._account.add(line)
        self._last = time.monotonic() if since is None else since
        self._kind, self._seconds = "init", dict.fromkeys(KINDS, 0.0)
        self._begins = True

    @contextlib.contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """What happens inside is of this kind."""
        outer = self._switch(kind)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, kind: str) -> str:
        now, outer = time.monotonic(), self._kind
        self._seconds[outer] += now - self._last
        self._last, self._kind = now, kind
        return outer

    def resume(self, phase: str, step: int) -> None:
        """A phase begins or goes on at this step: what was made beyond it is lost."""
        self.write(phase, step, resumes=True)

    def write(self, phase: str = "", step: int = 0, resumes: bool = False) -> None:
        """A line with the seconds since the one before; `phase` has come to `step`."""
        self._switch(self._kind)
        seconds = {kind: round(value, 3) for kind, value in self._seconds.items() if value}
        self._seconds = dict.fromkeys(KINDS, 0.0)
        line = {"at": round(time.time(), 3), "seconds": seconds, "phase": phase, "step": step}
        line |= {"begins": True} if self._begins else {}
        line |= {"resumes": True} if resumes else {}
        self._account.add(line)
        if self._path:
            with naming(self._path):
                self._append(line)
        self._begins = False

    def _append(self, line: Line) -> None:
        if self._begins:  # a kill may have cut the last line short
            return write_text(self._path, "".join(json.dumps(each) + "\n" for each in [*self._earlier, line]))
        with open(self._path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")

    @property
    def written(self) -> bool:
        """Whether this process has written any line."""
        return not self._begins

    def goodput(self) -> dict[str, float]:
        """`goodput`, see below, of all lines so far."""
        return {"goodput": goodput(self._account.sums)}

    def __str__(self) -> str:
        """All lines so far, in one."""
        return describe(self._account.sums)


def read_time(path: str | Path) -> list[Line]:
    """All whole lines of a time file; [] without one."""
    return [line for line in read_json_lines(path) if "seconds" in line]


def summed(lines: Iterable[Line]) -> dict[str, float]:
    """Seconds by kind of a run whose time file holds these lines, in the order of KINDS."""
    account = _Account()
    for line in lines:
        account.add(line)
    return account.sums


class _Account:
    """`sums` of seconds by kind, line by line."""

    def __init__(self):
        self.sums = dict.fromkeys(KINDS, 0.0)
        self._made: dict[str, list[_Made]] = {}  # by phase
        self._before: float | None = None

    def add(self, line: Line) -> None:
        """Counts the next line of the file."""
        seconds, phase, step = line["seconds"], line["phase"], line["step"]
        for kind, value in seconds.items():
            self.sums[kind] += value
        own = self._made.setdefault(phase, [_Made(0, 0, {})])
        if line.get("resumes"):
            for kind, value in ((kind, value) for each in own for kind, value in each.beyond(step).items()):
                self.sums[kind] -= value
                self.sums["lost"] += value
            self._made[phase] = [*(each.until(step) for each in own if each.first < step), _Made(step, step, {})]
        else:
            redone = {kind: seconds.get(kind, 0.0) for kind in REDONE}
            own.append(_Made(own[-1].last, step, redone))
        if line.get("begins") and self._before is not None:
            self.sums["away"] += max(line["at"] - sum(seconds.values()) - self._before, 0.0)
        self._before = line["at"]


@dataclasses.dataclass(frozen=True)
class _Made:
    """Steps after `first` up to `last`, and their seconds by kind."""

    first: int
    last: int
    seconds: dict[str, float]

    def beyond(self, step: int) -> dict[str, float]:
        """The seconds of those after `step`."""
        return self._share((self.last - max(step, self.first)) / max(self.last - self.first, 1))

    def until(self, step: int) -> "_Made":
        """Those up to `step` alone."""
        last = min(step, self.last)
        return _Made(self.first, last, self._share((last - self.first) / max(self.last - self.first, 1)))

    def _share(self, share: float) -> dict[str, float]:
        return {kind: max(share, 0.0) * value for kind, value in self.seconds.items()}


def goodput(sums: dict[str, float]) -> float:
    """The share of training in all seconds that the run had a process for; 0 of nothing."""
    there = sum(value for kind, value in sums.items() if kind != "away")
    return sums["step"] / there if there else 0.0


def describe(sums: dict[str, float]) -> str:
    """One line: all seconds, and the shares of those kinds that are worth one."""
    there = sum(value for kind, value in sums.items() if kind != "away")
    shares = {kind: sums[kind] / max(there, 1e-9) for kind in KINDS[:-1]}
    parts = [f"{kind} {share:.1%}" for kind, share in shares.items() if share >= WORTH_SAYING or kind == "step"]
    away = f", and away {tqdm.format_interval(sums['away'])}" if sums["away"] >= 1 else ""
    return f"{tqdm.format_interval(there)}{away}: {', '.join(parts)}"
