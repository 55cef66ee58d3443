"""What may stand in the place of hidden words."""

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mobilebert_jax.inference.folders import check_sizes, tokenizer_and_length
from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.text.lengths import in_order_of_length, length_buckets
from mobilebert_jax.text.pairs import Pairs
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, Batch

PredictMasked = Callable[[Batch], Array]
"""A batch of texts with `masked_positions` [B, P] int32 -> logits [B, P, V] float32."""

PLACES = 4
"""Masks of a text are padded to a multiple of this, so that few shapes are compiled."""


@dataclass(frozen=True)
class Guess:
    """A piece that may stand there: as the vocabulary writes it, its id, and its probability."""

    piece: str
    id: int
    probability: float


@dataclass(frozen=True)
class FilledMask:
    """A mask at the half-open characters [start, end) of its text, and what may stand there, likeliest first."""

    start: int
    end: int
    guesses: tuple[Guess, ...]


@dataclass
class MaskFiller:
    """Guesses pieces in the place of the tokenizer's mask token, `[MASK]`, each mask by itself.

    The model is given as a function of a batch, called with `batch_size` texts of a few lengths.
    """

    predict: PredictMasked
    tokenizer: Tokenizer
    sequence_length: int = 128
    batch_size: int = 8

    def __post_init__(self):
        check_sizes(self, "sequence_length", "batch_size")

    @classmethod
    def from_pretrained(cls, path: str | Path, **settings: Any) -> "MaskFiller":
        """From a model folder with its tokenizer; `settings` are the fields from `sequence_length` on.

        Raises:
            UserError: no model with its tokenizer there, no trained masked-LM head in it, or too few positions.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".* lacks .*masked_lm")
            try:
                model, params = from_pretrained(path, head="masked_lm")
            except UserWarning as warning:
                raise UserError(
                    f"{path}: no masked-LM head in it; pretraining leaves one, fine-tuning none"
                ) from warning
        tokenizer = tokenizer_and_length(path, model.cfg, settings, cls.sequence_length)

        @jax.jit
        def forward(params: Any, batch: Batch) -> Array:
            return model.apply({"params": params}, **batch).prediction_logits

        return cls(functools.partial(forward, params), tokenizer, **settings)

    def fill(self, texts: Sequence[str], top_k: int = 5) -> list[list[FilledMask]]:
        """The masks of each text, in its order, with the `top_k` likeliest pieces.

        Raises:
            UserError: a text without a mask, or one whose mask lies beyond `sequence_length` tokens.
        """
        if isinstance(texts, str):
            raise UserError("a list of texts is needed, not a single text")
        if not 1 <= top_k <= self.tokenizer.vocab_size:
            raise UserError(f"top_k is {top_k}; it must lie between 1 and {self.tokenizer.vocab_size}")
        places = [self._places(number, text) for number, text in enumerate(texts)]
        pairs = Pairs.build(self.tokenizer, texts, None, self.sequence_length)
        found: list[list[FilledMask]] = [[] for _ in texts]
        buckets = length_buckets(self.sequence_length)
        for rows, count, length in in_order_of_length(pairs.lengths, buckets, self.batch_size):
            batch = pairs.batch(rows, length)
            most = max(len(places[row]) for row in rows)
            positions = np.zeros((len(rows), -(-most // PLACES) * PLACES), np.int32)
            for line, row in enumerate(rows):
                positions[line, : len(places[row])] = [position for position, _ in places[row]]
            shares = softmax(np.asarray(self.predict({**batch, "masked_positions": positions}), np.float64))
            for line, row in enumerate(rows[:count].tolist()):
                for index, (_, characters) in enumerate(places[row]):
                    found[row].append(FilledMask(*characters, self._best(shares[line, index], top_k)))
        return found

    def _places(self, number: int, text: str) -> list[tuple[int, tuple[int, int]]]:
        """(position among the tokens, characters) of each mask of a text."""
        (encoding,) = self.tokenizer.encode_batch([text])
        masks = [place for place, piece in enumerate(encoding.ids) if piece == self.tokenizer.mask_id]
        mask = self.tokenizer.special_tokens[4]
        if not masks:
            raise UserError(f"text {number} has no {mask}: write it in the place of the word to guess")
        if masks[-1] + 2 > self.sequence_length - 1:
            raise UserError(
                f"text {number}: its last {mask} is token {masks[-1] + 2}, the model reads {self.sequence_length - 1}"
            )
        return [(place + 1, tuple(encoding.offsets[place])) for place in masks]

    def _best(self, shares: np.ndarray, top_k: int) -> tuple[Guess, ...]:
        best = np.argsort(-shares[: self.tokenizer.vocab_size], kind="stable")[:top_k].tolist()
        return tuple(Guess(self.tokenizer.pieces[index], index, float(shares[index])) for index in best)
