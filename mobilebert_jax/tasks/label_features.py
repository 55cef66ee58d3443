"""Training batches of labelled texts, short ones together so that they do not pay for long ones."""

import dataclasses
import functools

import numpy as np

from mobilebert_jax.tasks.epochs import drawn
from mobilebert_jax.tasks.examples import Examples
from mobilebert_jax.text.pairs import Pairs, length_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.types import Batch

SORTED_STEPS = 50
"""So many steps' examples are drawn at once and then ordered by length: few enough for chance, enough for few mixed."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelFeatures:
    """n training examples as token ids, in memory; `batch` draws from them."""

    pairs: Pairs
    labels: np.ndarray  # [n], int32 classes or float32 numbers
    buckets: np.ndarray  # the lengths of batches, ascending

    @classmethod
    def build(
        cls, tokenizer: Tokenizer, examples: Examples, sequence_length: int, bucketing: bool = True
    ) -> "LabelFeatures":
        """All examples, cut to `sequence_length` tokens; without `bucketing` every batch has that length."""
        pairs = Pairs.build(tokenizer, examples.texts, examples.text_pairs, sequence_length)
        return cls(pairs, examples.labels, length_buckets(sequence_length, bucketing))

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, step: int, seed: int, batch_size: int) -> Batch:
        """The batch of a step: a function of `(seed, step)` alone.

        Every epoch is a permutation of its own, and epochs follow each other without a gap. Of every `SORTED_STEPS`
        steps' examples in that order, batches are made shortest bucket first, and come in an order drawn anew; a batch
        has the length of its longest example's bucket. Without buckets the order of the epochs stays.
        """
        if len(self.buckets) == 1:
            rows = drawn(seed, step * batch_size, batch_size, len(self))
        else:
            rows = _sorted_rows(self, step // SORTED_STEPS, seed, batch_size)[step % SORTED_STEPS]
        length = self.buckets[np.searchsorted(self.buckets, self.pairs.lengths[rows].max())]
        return {**self.pairs.batch(rows, int(length)), "labels": self.labels[rows]}


@functools.lru_cache(maxsize=4)
def _sorted_rows(features: LabelFeatures, group: int, seed: int, batch_size: int) -> np.ndarray:
    """[SORTED_STEPS, batch_size]: the examples of a group of steps."""
    count = SORTED_STEPS * batch_size
    rows = drawn(seed, group * count, count, len(features))
    bucket = np.searchsorted(features.buckets, features.pairs.lengths[rows])
    batches = rows[np.argsort(bucket, kind="stable")].reshape(SORTED_STEPS, batch_size)
    return batches[np.random.default_rng([seed, group, SORTED_STEPS]).permutation(SORTED_STEPS)]
