"""The order in which a task's examples are trained on."""

import functools

import numpy as np


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
