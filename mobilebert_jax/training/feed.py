"""Batches for the loop: made and carried to the devices ahead of time, in the background."""

import dataclasses
from collections.abc import Callable, Iterator

import jax

from mobilebert_jax.text.loader import iterate
from mobilebert_jax.utils.types import Batch


@dataclasses.dataclass(frozen=True)
class Fed:
    """A batch on the devices, and what the host counts of it: its examples, and its tokens without padding."""

    batch: Batch
    examples: int
    tokens: int

    @classmethod
    def of(cls, batch: Batch, place: Callable[[Batch], Batch] = jax.device_put) -> "Fed":
        """A host's batch, brought to the devices by `place`."""
        return cls(place(batch), len(batch["input_ids"]), int(batch["attention_mask"].sum()))


Feed = Callable[[int, int], Iterator[Fed]]
"""step, last step -> the batches from that step on."""


def feed(make_batch: Callable[[int], Batch], place: Callable[[Batch], Batch] = jax.device_put) -> Feed:
    """Batches as a function of the step; `make_batch` and `place`, which brings one to the devices, run in a thread."""
    return lambda start, stop: iterate(lambda step: Fed.of(make_batch(step), place), start, stop)
