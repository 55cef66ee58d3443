"""Sentence splitters by name."""

import re
from collections.abc import Callable

from mobilebert_jax.text.corpus import library
from mobilebert_jax.text.sentences import split_sentences
from mobilebert_jax.utils.errors import UserError

Splitter = Callable[[str], list[str]]
"""Paragraph -> its sentences, stripped, in order, none empty; joined by spaces they hold all its words."""


def sentence_splitter(name: str) -> Splitter:
    """`rules`: this package's own, for English; `sentencex:LANGUAGE`: Wikimedia's library, some 300 languages.

    LANGUAGE is a code such as `de` or `pt`; the library treats those it does not know by its general rules. Raises
    UserError for another name or where the library is not installed.
    """
    if name == "rules":
        return split_sentences
    kind, _, language = name.partition(":")
    if kind != "sentencex" or not re.fullmatch(r"[a-z]{2,3}(-[a-z]+)?", language):
        raise UserError(f"data.sentences={name!r}: must be rules, or sentencex:LANGUAGE, such as sentencex:de")
    segment = library("sentencex", f"data.sentences={name}").segment
    return lambda paragraph: [part for part in map(str.strip, segment(language, paragraph)) if part]
