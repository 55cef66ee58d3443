"""Training batches of labelled texts."""

import dataclasses

import numpy as np

from mobilebert_jax.tasks.epochs import Epochs
from mobilebert_jax.tasks.examples import Examples
from mobilebert_jax.text.lengths import length_buckets
from mobilebert_jax.text.pairs import Pairs
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.types import Batch


@dataclasses.dataclass(frozen=True, eq=False)
class LabelFeatures:
    """n training examples as token ids, in memory; `batch` draws from them."""

    pairs: Pairs
    labels: np.ndarray  # [n], int32 classes or float32 numbers
    epochs: Epochs

    @classmethod
    def build(
        cls, tokenizer: Tokenizer, examples: Examples, sequence_length: int, bucketing: bool = True
    ) -> "LabelFeatures":
        """All examples, cut to `sequence_length` tokens; without `bucketing` every batch has that length."""
        pairs = Pairs.build(tokenizer, examples.texts, examples.text_pairs, sequence_length)
        return cls(pairs, examples.labels, Epochs(pairs.lengths, length_buckets(sequence_length, bucketing)))

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, step: int, seed: int, batch_size: int) -> Batch:
        """The batch of a step: a function of `(seed, step)` alone; see `Epochs`."""
        rows, length = self.epochs.batch(step, seed, batch_size)
        return {**self.pairs.batch(rows, length), "labels": self.labels[rows]}
