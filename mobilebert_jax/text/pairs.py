"""Texts and pairs of texts as `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`.

Follows google-research/bert run_classifier.py (`convert_single_example`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch

# Texts in one tokenizer call: enough for all its threads, few enough that the lists of ids stay small in memory.
_ENCODE_BATCH = 8192


@dataclass(frozen=True)
class Pieces:
    """The ids of T texts, end to end."""

    ids: np.ndarray  # [pieces] int32
    first: np.ndarray  # [T] int64, each text's first piece
    length: np.ndarray  # [T] int64, how many of them are kept

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: Sequence[str]) -> "Pieces":
        """All pieces of every text."""
        ids, lengths = [], []
        for begin in range(0, len(texts), _ENCODE_BATCH):
            found = tokenizer.ids_batch(texts[begin : begin + _ENCODE_BATCH])
            lengths += map(len, found)
            ids.append(np.fromiter(chain.from_iterable(found), np.int32))
        length = np.array(lengths, np.int64)
        return cls(np.concatenate([*ids, np.zeros(0, np.int32)]), np.cumsum(length) - length, length)


@dataclass(frozen=True)
class Pairs:
    """n examples in memory; `batch` lays some of them out."""

    tokenizer: Tokenizer
    a: Pieces
    b: Pieces | None  # None where there is one text an example
    lengths: np.ndarray  # [n] int64, tokens of each example with its special ones

    @classmethod
    def build(
        cls, tokenizer: Tokenizer, texts: Sequence[str], others: Sequence[str] | None, sequence_length: int
    ) -> "Pairs":
        """Cuts each example to `sequence_length` tokens: the longer text loses its last piece until both fit.

        Raises:
            UserError: `sequence_length` leaves no room for a piece of every text.
        """
        special = 2 if others is None else 3
        room = sequence_length - special
        if room < special - 1:
            raise UserError(f"sequence_length is {sequence_length}: {2 * special - 1} is the least for these examples")
        a = Pieces.of(tokenizer, texts)
        if others is None:
            a = Pieces(a.ids, a.first, np.minimum(a.length, room))
            return cls(tokenizer, a, None, a.length + special)
        b = Pieces.of(tokenizer, others)
        kept_a, kept_b = truncated(a.length, b.length, room)
        a, b = Pieces(a.ids, a.first, kept_a), Pieces(b.ids, b.first, kept_b)
        return cls(tokenizer, a, b, kept_a + kept_b + special)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows: np.ndarray, length: int) -> Batch:
        """input_ids, attention_mask and token_type_ids, each [B, length] int32, of the examples `rows` [B]."""
        column = np.arange(length)
        total = self.lengths[rows, None]
        separator = self.a.length[rows, None] + 1
        ids = np.full((len(rows), length), self.tokenizer.pad_id, np.int32)
        ids[:, 0] = self.tokenizer.cls_id
        ids[(column == separator) | (column == total - 1)] = self.tokenizer.sep_id
        _lay(ids, self.a, rows, begin=np.ones_like(separator))
        if self.b is not None:
            _lay(ids, self.b, rows, begin=separator + 1)
        return {
            "input_ids": ids,
            "attention_mask": (column < total).astype(np.int32),
            "token_type_ids": ((column > separator) & (column < total)).astype(np.int32),
        }


def truncated(a: np.ndarray, b: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths that are left of pairs of `a` and `b` pieces when the longer one, of equals the second, loses its last.

    That goes on until both together have at most `room`; here it is done at once.
    """
    kept = np.minimum(a, np.maximum(room - b, (room + 1) // 2))
    return kept, np.minimum(b, room - kept)


def _lay(ids: np.ndarray, pieces: Pieces, rows: np.ndarray, begin: np.ndarray) -> None:
    """Puts the pieces of the texts `rows` into `ids` [B, S], each from its column `begin` [B, 1] on."""
    column = np.arange(ids.shape[1])
    row, where = np.nonzero((column >= begin) & (column < begin + pieces.length[rows, None]))
    ids[row, where] = pieces.ids[pieces.first[rows][row] + where - begin[row, 0]]
