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
    def of(cls, batch: Batch, place: Callable[[Batch], Batch] = jax.device_put, whole: int = 0) -> "Fed":
        """A host's batch, brought to the devices by `place`.

        `whole`: the examples of the whole batch where this is a host's part; the rest is taken to hold as many tokens.
        """
        own = len(batch["input_ids"])
        tokens = int(batch["attention_mask"].sum())
        return cls(place(batch), whole or own, tokens * (whole or own) // own)


Feed = Callable[[int, int], Iterator[Fed]]
"""step, last step -> the batches from that step on."""


def feed(make_batch: Callable[[int], Batch], place: Callable[[Batch], Batch] = jax.device_put, whole: int = 0) -> Feed:
    """Batches as a function of the step; `make_batch` and `place`, which brings one to the devices, run in a thread.

    `whole`: as in `Fed.of`.
    """
    return lambda start, stop: iterate(lambda step: Fed.of(make_batch(step), place, whole), start, stop)
