"""How fast a run goes: examples and tokens a second, the share of time it waits for data, the time left."""

import contextlib
import time
from collections.abc import Iterator

from tqdm import tqdm

from mobilebert_jax.utils.types import Batch


class Pace:
    """Counts since the last `take`; what lies in `paused` (saving, evaluation) is no time of training."""

    def __init__(self):
        self._begin = time.perf_counter()
        self._steps = self._examples = self._tokens = 0
        self._waited = 0.0
        self.seconds_per_step = self.waiting = 0.0

    def add(self, batch: Batch, waited: float) -> None:
        """One step on a batch that took `waited` seconds to arrive. Padding is no token."""
        self._steps += 1
        self._examples += len(batch["input_ids"])
        self._tokens += int(batch["attention_mask"].sum())
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
        rates = {"examples_per_second": self._examples / seconds, "tokens_per_second": self._tokens / seconds}
        self.seconds_per_step, self.waiting = seconds / max(self._steps, 1), self._waited / seconds
        self._begin, self._steps, self._examples, self._tokens, self._waited = now, 0, 0, 0, 0.0
        return rates

    def left(self, steps: int) -> str:
        """The time of so many steps at the last rate, as 1:02:03 or 02:03."""
        return tqdm.format_interval(steps * self.seconds_per_step)
