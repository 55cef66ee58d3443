"""Labelled texts as every source gives them, and what a task makes of their labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilebert_jax.utils.errors import UserError


@dataclass(frozen=True)
class Row:
    """One example as it was read: `place` says where, for errors; `label` is None where the source gives none."""

    place: str
    index: str
    text: str
    text_pair: str | None
    label: str | None


@dataclass(frozen=True)
class Examples:
    """n examples of one split, in the source's order.

    `labels` are class numbers [n] int32, or float32 numbers where the task is a regression; None for a test set.
    """

    source: str
    indices: tuple[str, ...]
    texts: tuple[str, ...]
    text_pairs: tuple[str, ...] | None
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.texts)


def make_examples(rows: Sequence[Row], names: Sequence[str], source: str, labelled: bool = True) -> Examples:
    """Rows with their labels as numbers: places in `names`, or, where that is empty, what the label says.

    Raises:
        UserError: no rows, or a label that is missing, outside `names` or no number; the line says where it stands.
    """
    if not rows:
        raise UserError(f"{source}: no examples in it")
    pairs = None if rows[0].text_pair is None else tuple(row.text_pair or "" for row in rows)
    labels = None
    if labelled:
        places = {name: number for number, name in enumerate(names)}
        labels = np.array([_label(row, places) for row in rows], np.int32 if names else np.float32)
    return Examples(source, tuple(row.index for row in rows), tuple(row.text for row in rows), pairs, labels)


def label_set(rows: Sequence[Row], source: str) -> tuple[str, ...]:
    """The different labels, sorted; by value where all are whole numbers.

    Raises:
        UserError: a row without a label, or fewer than two different ones.
    """
    for row in rows:
        if not row.label:
            raise UserError(f"{row.place}: the label is empty; every training example needs one")
    found = {row.label for row in rows if row.label}
    if len(found) < 2:
        raise UserError(f"{source}: every label is {', '.join(map(repr, found)) or 'missing'}; two are needed at least")
    whole = all(label.removeprefix("-").isdecimal() for label in found)
    return tuple(sorted(found, key=lambda label: (int(label), label) if whole else (0, label)))


def _label(row: Row, places: dict[str, int]) -> int | float:
    if row.label is None:
        raise UserError(f"{row.place}: no label; this set needs them")
    if places:
        if row.label not in places:
            raise UserError(f"{row.place}: the label {row.label!r} is none of {', '.join(map(repr, places))}")
        return places[row.label]
    try:
        value = float(row.label)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{row.place}: the label {row.label!r} is no number")
    return value
