"""Training batches of sentences whose words have tags."""

import dataclasses

import numpy as np

from mobilebert_jax.tasks.epochs import Epochs
from mobilebert_jax.tasks.token_data import Tagged
from mobilebert_jax.text.lengths import length_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.words import WordRows
from mobilebert_jax.utils.types import Batch


@dataclasses.dataclass(frozen=True, eq=False)
class TokenFeatures:
    """n rows in memory; `batch` draws from them."""

    words: WordRows
    labels: np.ndarray  # [W] int32, of all words
    epochs: Epochs

    @classmethod
    def build(
        cls, tokenizer: Tokenizer, tagged: Tagged, sequence_length: int, bucketing: bool = True
    ) -> "TokenFeatures":
        """All sentences as `WordRows` makes rows of them; without `bucketing` every batch has `sequence_length`."""
        words = WordRows.build(tokenizer, tagged.sentences, sequence_length, tagged.source)
        epochs = Epochs(words.pairs.lengths, length_buckets(sequence_length, bucketing))
        return cls(words, tagged.labels, epochs)

    def __len__(self) -> int:
        return len(self.words)

    def batch(self, step: int, seed: int, batch_size: int) -> Batch:
        """The batch of a step: a function of `(seed, step)` alone; see `Epochs`."""
        rows, length = self.epochs.batch(step, seed, batch_size)
        return self.words.batch(rows, length, self.labels)
