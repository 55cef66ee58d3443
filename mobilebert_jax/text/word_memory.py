"""Remembers the ids of words, so that a WordPiece tokenizer works on new ones alone."""

import re
from collections.abc import Callable, Sequence
from itertools import chain

MOST = 1 << 18
"""Words that are remembered, some 60 MB; when there are more, all are forgotten."""

# Stretches without spaces and ASCII punctuation, and stretches of such punctuation.
_WORDS = re.compile(r"[^ !-/:-@\[-`{-~]+|[!-/:-@\[-`{-~]+")


class WordMemory:
    """Ids of texts, put together from those of their words.

    That is right for a tokenizer that looks at nothing beyond a space or a punctuation mark. BERT's does not: it
    cleans, lower-cases and takes off accents character by character, then splits there before all else. Only tokens
    that a text may contain literally ("[MASK]") are an exception; `literal` are these, and texts with one are encoded
    whole. Most words of a text were there before, so most of the work is looking them up.
    """

    def __init__(
        self, encode: Callable[[Sequence[str]], list[list[int]]], literal: Sequence[str] = (), most: int = MOST
    ):
        """`encode` gives the ids of each text of a batch."""
        self._encode, self._most = encode, most
        self._literal = re.compile("|".join(map(re.escape, literal)) or r"(?!)")
        self._known = _Known()

    def ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        find, literal, known = _WORDS.findall, self._literal.search, self._known
        words = [list(map(known.__getitem__, [text] if literal(text) else find(text))) for text in texts]
        for ids, encoded in zip(known.new.values(), self._encode(list(known.new)), strict=True):
            ids.extend(encoded)
        known.new.clear()
        if len(known) > self._most:
            self._known = _Known()
        return [list(chain.from_iterable(parts)) for parts in words]


class _Known(dict[str, list[int]]):
    """Ids of words; a new word's list is empty, and in `new`, until somebody fills it."""

    def __init__(self) -> None:
        self.new: dict[str, list[int]] = {}

    def __missing__(self, word: str) -> list[int]:
        ids = self[word] = self.new[word] = []
        return ids
