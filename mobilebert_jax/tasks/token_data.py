"""Sentences with a tag for every word: CoNLL and jsonl files, `hf:` and `tfds:`."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.tasks.own_data import Columns, split_by_hash
from mobilebert_jax.text.hugging_face import suffix_of
from mobilebert_jax.text.tables import REFUSE, Record, is_data_set, read_data_set, read_jsonl
from mobilebert_jax.text.text_files import read_lines
from mobilebert_jax.utils.errors import UserError

_LOG = logging.getLogger(__name__)

DOCUMENT = "-DOCSTART-"
"""What the CoNLL-2003 files have as a word between documents; it is none."""

TOKEN_COLUMNS = Columns("tokens", "", "tags")


@dataclass(frozen=True)
class Sentence:
    """One sentence as it was read: `place` says where, for errors."""

    place: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Tagged:
    """n sentences; `labels` are the class numbers of all their words, end to end, [W] int32."""

    source: str
    sentences: tuple[tuple[str, ...], ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def lengths(self) -> np.ndarray:
        """Words of each sentence [n] int64."""
        return np.array([len(words) for words in self.sentences], np.int64)


def read_sentences(spec: str, columns: Columns = TOKEN_COLUMNS, bad_rows: str = REFUSE) -> list[Sentence]:
    """All sentences of a source, in order; those without words are left out.

    FILE.jsonl, `hf:` and `tfds:` have lists of words and tags in the columns named; classes of a data set stand there
    by name. Every other file is CoNLL: a word, perhaps other columns, its tag; a blank line between sentences.

    Raises:
        UserError: a source that cannot be read, a missing column, lists of different lengths, a CoNLL line with another
            number of columns than the first (`bad_rows` as in `read_tsv`); the line says where.
    """
    if is_data_set(spec):
        found = [_sentence(record, columns) for record in read_data_set(spec)]
    elif not Path(spec).is_file():
        raise UserError(f"{spec}: no such file; a .jsonl, a CoNLL file, hf: or tfds: is needed")
    elif suffix_of(Path(spec)) == ".jsonl":
        found = [_sentence(record, columns) for record in read_jsonl(spec)]
    else:
        found = list(_conll(spec, bad_rows))
    found = [sentence for sentence in found if sentence.words]
    if not found:
        raise UserError(f"{spec}: no sentences in it")
    return found


def split_sentences(sentences: Sequence[Sentence]) -> tuple[list[Sentence], list[Sentence]]:
    """(training, held-out): of the different sentences the tenth that hash lowest is held out.

    Raises:
        UserError: too few sentences to hold any out.
    """
    return split_by_hash(sentences, lambda sentence: "\0".join(sentence.words), "sentences")


def tag_set(sentences: Sequence[Sentence], source: str) -> tuple[str, ...]:
    """The different tags, sorted; UserError where there is only one."""
    found = sorted({tag for sentence in sentences for tag in sentence.tags})
    if len(found) < 2:
        raise UserError(f"{source}: every tag is {found[0]!r}; two are needed at least")
    return tuple(found)


def make_tagged(sentences: Sequence[Sentence], names: Sequence[str], source: str) -> Tagged:
    """Sentences with their tags as places in `names`; UserError where one is not there."""
    places = {name: number for number, name in enumerate(names)}
    for sentence in sentences:
        for tag in sentence.tags:
            if tag not in places:
                raise UserError(f"{sentence.place}: the tag {tag!r} is none of {', '.join(map(repr, names))}")
    labels = [places[tag] for sentence in sentences for tag in sentence.tags]
    return Tagged(source, tuple(sentence.words for sentence in sentences), np.array(labels, np.int32))


def _conll(path: str, bad_rows: str) -> Iterator[Sentence]:
    """The sentences of a file; `place` is the line of the first word."""
    rows = enumerate((line.rstrip("\r\n") for line in read_lines(path)), start=1)
    width, wrong = 0, []
    for blank, lines in itertools.groupby(rows, key=lambda row: not row[1].strip()):
        kept = []
        for number, line in () if blank else lines:
            values = line.split("\t") if "\t" in line else line.split()
            width = width or len(values)
            if len(values) == width > 1:
                kept.append((number, values[0], values[-1]))
            elif bad_rows == REFUSE:
                need = f"{width}, as in the first line," if width > 1 else "a word and its tag"
                raise UserError(
                    f"{path}:{number}: {len(values)} columns, {need} are needed; put it right, or leave such lines "
                    "out with --bad_rows=drop"
                )
            else:
                wrong.append(number)
        kept = [row for row in kept if row[1] != DOCUMENT]
        if kept:
            numbers, words, tags = zip(*kept, strict=True)
            yield Sentence(f"{path}:{numbers[0]}", words, tags)
    if wrong:
        _LOG.warning("%s: %d lines left out, their number of columns is wrong (first %d)", path, len(wrong), wrong[0])


def _sentence(record: Record, columns: Columns) -> Sentence:
    for option, name in (("text", columns.text), ("label", columns.label)):
        if name not in record.values:
            there = ", ".join(record.values)
            raise UserError(f"{record.place}: no column {name!r}; there are {there}; --{option} names it")
    words, tags = (record.values[name] for name in (columns.text, columns.label))
    if not _list_of(words, str) or not _list_of(tags, str | int):
        raise UserError(f"{record.place}: {columns.text} and {columns.label} must be lists, of words and of their tags")
    if len(words) != len(tags):
        raise UserError(f"{record.place}: {len(words)} words and {len(tags)} tags; every word needs one")
    return Sentence(record.place, tuple(words), tuple(map(str, tags)))


def _list_of(value: Any, kind: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, kind) for each in value)
