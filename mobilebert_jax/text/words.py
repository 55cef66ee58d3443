"""Sentences of words as rows `[CLS] pieces [SEP]`, where each word's first piece stands for the word.

A sentence longer than a row goes on in the next one: every word is in one row, whole unless it is itself longer.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from mobilebert_jax.text.pairs import Pairs, Pieces
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch

_LOG = logging.getLogger(__name__)

SPECIAL = 2
"""Pieces of a row that are no word's."""

UNLABELLED = -1
"""Where a row has no word's first piece."""


@dataclass(frozen=True)
class WordRows:
    """n rows over W words in all, the words in the order of the sentences."""

    pairs: Pairs
    first_word: np.ndarray  # [n + 1] int64: a row's words are those from its own number up to the next one's
    column: np.ndarray  # [W] int64, where each word's first piece stands in its row

    @classmethod
    def build(
        cls, tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], sequence_length: int, source: str = ""
    ) -> "WordRows":
        """Rows of at most `sequence_length` tokens; a word without pieces of its own is the unknown piece.

        A long sentence is cut into rows of nearly equal length. How many were, and how many words were themselves cut,
        is logged as a warning that names `source`.

        Raises:
            UserError: `sequence_length` leaves no room for a piece.
        """
        room = sequence_length - SPECIAL
        if room < 1:
            raise UserError(f"sequence_length is {sequence_length}: {SPECIAL + 1} is the least for words")
        known = list(dict.fromkeys(chain.from_iterable(sentences)))
        pieces = dict(zip(known, tokenizer.ids_batch(known), strict=True))
        words = [pieces[word] or [tokenizer.unk_id] for sentence in sentences for word in sentence]
        kept = np.array([min(len(word), room) for word in words], np.int64)
        begin = np.cumsum(kept) - kept
        ends = np.cumsum([len(sentence) for sentence in sentences], dtype=np.int64)
        first_word = np.array(_cuts(kept, ends, room), np.int64)
        ids = np.fromiter(chain.from_iterable(word[:room] for word in words), np.int32, int(kept.sum()))
        edges = np.append(begin, len(ids))[first_word]
        row = np.repeat(np.arange(len(first_word) - 1), np.diff(first_word))
        column = begin - edges[row] + 1
        lengths = np.diff(edges)
        _warn(source, sequence_length, len(first_word) - 1 - int((np.diff(ends, prepend=0) > 0).sum()), words, room)
        return cls(Pairs(tokenizer, Pieces(ids, edges[:-1], lengths), None, lengths + SPECIAL), first_word, column)

    def __len__(self) -> int:
        return len(self.pairs)

    def words(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of all words in the rows given: their place among `rows`, the column, and the word's number, each [w]."""
        counts = self.first_word[rows + 1] - self.first_word[rows]
        place = np.repeat(np.arange(len(rows)), counts)
        turn = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        word = self.first_word[rows][place] + turn
        return place, self.column[word], word

    def batch(self, rows: np.ndarray, length: int, labels: np.ndarray) -> Batch:
        """The rows' batch with `labels` [B, length] int32: those of the words, [W], at their first pieces."""
        place, column, word = self.words(rows)
        laid = np.full((len(rows), length), UNLABELLED, np.int32)
        laid[place, column] = labels[word]
        return {**self.pairs.batch(rows, length), "labels": laid}


def _cuts(kept: np.ndarray, ends: np.ndarray, room: int) -> list[int]:
    """The first word of every row, and the number of words; `ends`: one past each sentence's last word."""
    cuts, begin, kept = [], 0, kept.tolist()
    for end in ends.tolist():
        total = sum(kept[begin:end])
        share = -(-total // -(-total // room)) if total else 0
        filled = 0
        for word in range(begin, end):
            if word == begin or filled >= share or filled + kept[word] > room:
                cuts.append(word)
                filled = 0
            filled += kept[word]
        begin = end
    return [*cuts, begin]


def _warn(source: str, sequence_length: int, more: int, words: Sequence[Sequence[int]], room: int) -> None:
    """Says what was divided: `more` rows than sentences, and words of more pieces than there is room."""
    prefix = f"{source}: " if source else ""
    if more:
        _LOG.warning("%ssentences longer than %d tokens go on in %d further rows", prefix, sequence_length, more)
    if long := sum(len(word) > room for word in words):
        _LOG.warning("%s%d words have more than %d pieces each; the rest of them is left out", prefix, long, room)
