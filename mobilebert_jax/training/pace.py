"""How fast a run goes: examples and tokens a second, how long steps take, what waits for data, the time left."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

PERCENTILES = ("median", "p95", "max")

Used = Callable[[float], dict[str, float]]
"""The mean seconds of a step -> what share of the machine that is, such as `mfu`."""


def nothing_used(seconds: float) -> dict[str, float]:
    """Where nobody counts."""
    return {}


class Pace:
    """Counts since the last `take`; what lies in `paused` (compiling, saving, evaluation) is no time of training."""

    def __init__(self):
        self._begin = self._last = time.perf_counter()
        self._gaps: list[float] = []
        self._used: dict[str, float] = {}
        self._spread = dict.fromkeys(PERCENTILES, 0.0)
        self._steps = self._examples = self._tokens = 0
        self._waited = 0.0
        self._rates = {"examples_per_second": 0.0, "tokens_per_second": 0.0}
        self.seconds_per_step = self.waiting = 0.0

    def add(self, examples: int, tokens: int, waited: float) -> None:
        """One step on a batch of so many, which took `waited` seconds to arrive. Padding is no token."""
        self._steps += 1
        self._examples += examples
        self._tokens += tokens
        self._waited += waited
        now = time.perf_counter()
        self._gaps.append(now - self._last)
        self._last = now

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count."""
        began = time.perf_counter()
        yield
        paused = time.perf_counter() - began
        self._begin += paused
        self._last += paused

    def take(self, used: Used = nothing_used) -> dict[str, Any]:
        """Examples and tokens a second, the spread of the steps' seconds, what they `used`; starts over."""
        now = time.perf_counter()
        seconds = max(now - self._begin, 1e-9)
        self._rates = {"examples_per_second": self._examples / seconds, "tokens_per_second": self._tokens / seconds}
        self.seconds_per_step, self.waiting = seconds / max(self._steps, 1), self._waited / seconds
        each = np.percentile(self._took(now), [50, 95, 100]).tolist()
        self._spread = dict(zip(PERCENTILES, each, strict=True))
        self._begin = self._last = now
        self._steps, self._examples, self._tokens, self._waited = 0, 0, 0, 0.0
        self._gaps = []
        self._used = used(self.seconds_per_step)
        return {**self._rates, **self._used, "step_seconds": self._spread}

    def _took(self, now: float) -> list[float]:
        """Seconds of every step, all done by `now`.

        The loop is a step ahead of the device: it counts a step when that has begun and the one before is done.
        """
        begun, *ends = (*self._gaps, now - self._last)
        return [begun + ends[0], *ends[1:]] if ends else [0.0]

    def __str__(self) -> str:
        """The last rates taken, as progress shows them."""
        examples, tokens = self._rates.values()
        mfu = f", MFU {self._used['mfu']:.1%}" if "mfu" in self._used else ""
        typical, slow = (1000 * self._spread[name] for name in PERCENTILES[:2])
        rates = f"{examples:,.0f} ex/s, {tokens:,.0f} tok/s{mfu}"
        return f"{rates}, step {typical:,.0f} ms (p95 {slow:,.0f}), data wait {self.waiting:.0%}"


@dataclasses.dataclass(frozen=True)
class Work:
    """How much there is to do, in a unit that a whole recipe shares.

    Attributes:
        stages: (steps, work of one step) of each of the phase's stages.
        later: the work of all phases that follow.
        counted: whether the unit is a multiply-add.
    """

    stages: tuple[tuple[int, float], ...]
    later: float = 0.0
    counted: bool = False

    def utilization(self, index: int, peak: float | None, seconds_per_step: float) -> dict[str, float]:
        """`mfu`: the share of `peak`, in multiplications and additions a second, that a step of stage `index` uses.

        Counted are the products that the step cannot do without: a teacher's forward, forward and backward of what
        learns, nothing twice. {} where the unit of work is not multiply-adds (`counted`), or the peak is not known.
        """
        if not (self.counted and peak and seconds_per_step):
            return {}
        return {"mfu": 2 * self.stages[index][1] / seconds_per_step / peak}

    def left(self, index: int, steps: int, seconds_per_step: float) -> dict[str, float]:
        """Seconds left of `stage`, `phase` and `run`, as far as these differ.

        `steps` are left of stage `index`, whose steps took `seconds_per_step` lately.
        """
        seconds = seconds_per_step / self.stages[index][1]
        stage = steps * self.stages[index][1] * seconds
        phase = stage + seconds * sum(count * each for count, each in self.stages[index + 1 :])
        own = {"stage": stage} if len(self.stages) > 1 else {}
        return own | {"phase": phase} | ({"run": phase + self.later * seconds} if self.later else {})
