"""The masked-LM side of a batch: which of its tokens are to be predicted, and what the model reads there."""

from typing import Protocol

import numpy as np

from mobilebert_jax.text.masking import prediction_counts, replace_tokens, select_tokens, select_words
from mobilebert_jax.text.randomness import random_bits, uniforms

# What is drawn here for an example, each with its own salt; examples take others for their text.
SCORE, ACTION, CHOICE = range(9, 12)


class Vocabulary(Protocol):
    """What examples need of a tokenizer."""

    vocab_size: int
    pad_id: int
    cls_id: int
    sep_id: int
    mask_id: int

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids that are never masked, never guessed and never drawn as replacement."""
        ...

    @property
    def continuation(self) -> np.ndarray:
        """bool [vocab_size], True for pieces that continue a word."""
        ...


class Predictions:
    """Chooses tokens, or whole words, row by row; a pure function of the seed and each row's global index."""

    def __init__(
        self, vocabulary: Vocabulary, *, seed: int, max_predictions: int, mask_probability: float, whole_word: bool
    ):
        """A share of `mask_probability` of a row's ordinary tokens, at most `max_predictions`, at least one."""
        self.vocabulary = vocabulary
        self.seed = seed
        self.max_predictions = max_predictions
        self.mask_probability = mask_probability
        self.whole_word = whole_word
        special = np.isin(np.arange(vocabulary.vocab_size), vocabulary.special_ids)
        self._is_special = special
        self._replacements = np.flatnonzero(~special)

    def mask(self, index: np.ndarray, input_ids: np.ndarray) -> dict[str, np.ndarray]:
        """Replaces what is to be guessed in `input_ids` [B, S], in place; returns the prediction fields.

        `index` [B]: the rows' global numbers.
        """
        seed, most, length = self.seed, self.max_predictions, input_ids.shape[1]
        maskable = ~self._is_special[input_ids]
        counts = prediction_counts(maskable.sum(axis=1), self.mask_probability, most)
        scores = random_bits(seed, index, SCORE, length)
        if self.whole_word:
            continuation = self.vocabulary.continuation[input_ids]
            positions = select_words(scores, maskable, continuation, counts, most)
        else:
            positions = select_tokens(scores, maskable, counts, most)
        used = positions < length
        row, slot = np.nonzero(used)
        original = input_ids[row, positions[used]]
        action, choice = (uniforms(seed, index, salt, most)[used] for salt in (ACTION, CHOICE))
        input_ids[row, positions[used]] = replace_tokens(
            original, self.vocabulary.mask_id, self._replacements, action, choice
        )
        masked_ids = np.zeros(used.shape, np.int32)
        masked_ids[row, slot] = original
        return {
            "masked_positions": np.where(used, positions, 0).astype(np.int32),
            "masked_ids": masked_ids,
            "masked_weights": used.astype(np.float32),
        }
