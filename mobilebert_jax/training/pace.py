"""How fast a run goes: examples and tokens a second, the share of time it waits for data, the time left."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator


class Pace:
    """Counts since the last `take`; what lies in `paused` (compiling, saving, evaluation) is no time of training."""

    def __init__(self):
        self._begin = time.perf_counter()
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

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count."""
        began = time.perf_counter()
        yield
        self._begin += time.perf_counter() - began

    def take(self) -> dict[str, float]:
        """Examples and tokens a second, and starts over."""
        now = time.perf_counter()
        seconds = max(now - self._begin, 1e-9)
        self._rates = {"examples_per_second": self._examples / seconds, "tokens_per_second": self._tokens / seconds}
        self.seconds_per_step, self.waiting = seconds / max(self._steps, 1), self._waited / seconds
        self._begin, self._steps, self._examples, self._tokens, self._waited = now, 0, 0, 0, 0.0
        return self._rates

    def __str__(self) -> str:
        """The last rates taken, as progress shows them."""
        examples, tokens = self._rates.values()
        return f"{examples:,.0f} ex/s, {tokens:,.0f} tok/s, data wait {self.waiting:.0%}"


@dataclasses.dataclass(frozen=True)
class Work:
    """How much there is to do, in a unit that a whole recipe shares.

    Attributes:
        stages: (steps, work of one step) of each of the phase's stages.
        later: the work of all phases that follow.
    """

    stages: tuple[tuple[int, float], ...]
    later: float = 0.0

    def left(self, index: int, steps: int, seconds_per_step: float) -> dict[str, float]:
        """Seconds left of `stage`, `phase` and `run`, as far as these differ.

        `steps` are left of stage `index`, whose steps took `seconds_per_step` lately.
        """
        seconds = seconds_per_step / self.stages[index][1]
        stage = steps * self.stages[index][1] * seconds
        phase = stage + seconds * sum(count * each for count, each in self.stages[index + 1 :])
        own = {"stage": stage} if len(self.stages) > 1 else {}
        return own | {"phase": phase} | ({"run": phase + self.later * seconds} if self.later else {})
