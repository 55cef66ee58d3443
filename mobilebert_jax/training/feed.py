"""Batches for the loop: made and carried to the devices ahead of time, in the background."""

import dataclasses
import sys
from collections.abc import Callable, Iterator

import jax

from mobilebert_jax.text.loader import iterate
from mobilebert_jax.utils.types import Batch

SWITCH_SECONDS = 5e-4
"""How long the loop's and the loader's thread keep Python to themselves while the other one waits."""


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

    def batches(start: int, stop: int) -> Iterator[Fed]:
        # The loop holds Python for a tenth of a millisecond at a time; by default it would be given 5 where it waits.
        sys.setswitchinterval(SWITCH_SECONDS)
        return iterate(lambda step: Fed.of(make_batch(step), place, whole), start, stop)

    return batches
