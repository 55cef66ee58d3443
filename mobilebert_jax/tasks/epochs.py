"""The order in which a task's examples are trained on, short ones together so that they do not pay for long ones."""

import dataclasses
import functools

import numpy as np

from mobilebert_jax.text.lengths import bucket_of

SORTED_STEPS = 50
"""So many steps' examples are drawn at once and then ordered by length: few enough for chance, enough for few mixed."""


@dataclasses.dataclass(frozen=True, eq=False)
class Epochs:
    """The batches of n examples; `buckets` are the lengths that batches may have, ascending."""

    lengths: np.ndarray  # [n], tokens of each example
    buckets: np.ndarray

    def batch(self, step: int, seed: int, batch_size: int) -> tuple[np.ndarray, int]:
        """The examples [batch_size] of a step and their batch's length: a function of `(seed, step)` alone.

        Every epoch is a permutation of its own, and epochs follow each other without a gap. Of every `SORTED_STEPS`
        steps' examples in that order, batches are made shortest bucket first, and come in an order drawn anew; a batch
        has the length of its longest example's bucket. Without buckets the order of the epochs stays.
        """
        if len(self.buckets) == 1:
            rows = drawn(seed, step * batch_size, batch_size, len(self.lengths))
        else:
            rows = _sorted_rows(self, step // SORTED_STEPS, seed, batch_size)[step % SORTED_STEPS]
        return rows, int(self.buckets[bucket_of(self.lengths[rows], self.buckets).max()])


def drawn(seed: int, begin: int, count: int, examples: int) -> np.ndarray:
    """The examples [count] int64 from place `begin` of all epochs on, of a set of so many.

    Every epoch is a permutation of its own, and the next one follows without a gap.
    """
    epoch, position = np.divmod(np.arange(begin, begin + count), examples)
    rows = np.empty(count, np.int64)
    for each in range(epoch[0], epoch[-1] + 1):
        rows[epoch == each] = _permutation(seed, each, examples)[position[epoch == each]]
    return rows


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


@functools.lru_cache(maxsize=4)
def _sorted_rows(epochs: Epochs, group: int, seed: int, batch_size: int) -> np.ndarray:
    """[SORTED_STEPS, batch_size]: the examples of a group of steps."""
    count = SORTED_STEPS * batch_size
    rows = drawn(seed, group * count, count, len(epochs.lengths))
    bucket = bucket_of(epochs.lengths[rows], epochs.buckets)
    batches = rows[np.argsort(bucket, kind="stable")].reshape(SORTED_STEPS, batch_size)
    return batches[np.random.default_rng([seed, group, SORTED_STEPS]).permutation(SORTED_STEPS)]
