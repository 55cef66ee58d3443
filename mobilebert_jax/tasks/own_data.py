"""Labelled texts of your own: tsv and jsonl files, `hf:` and `tfds:`, with columns that you name."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mobilebert_jax.tasks.examples import Row
from mobilebert_jax.text.tables import REFUSE, read_table
from mobilebert_jax.utils.errors import UserError

HELDOUT_FRACTION = 0.1

Example = TypeVar("Example")


@dataclass(frozen=True)
class Columns:
    """Which column holds what; `text_pair` is empty where an example is one text."""

    text: str = "text"
    text_pair: str = ""
    label: str = "label"


def read_rows(spec: str, columns: Columns, labelled: bool = True, bad_rows: str = REFUSE) -> list[Row]:
    """All examples of a source, in order; without `labelled` the label's column may be missing.

    Raises:
        UserError: a source that cannot be read, a missing column, or a value that is no text; the line says where.
    """
    records = read_table(spec, bad_rows)
    if not records:
        raise UserError(f"{spec}: no examples in it")
    wanted = {"text": columns.text, "text_pair": columns.text_pair, "label": columns.label if labelled else ""}
    rows = []
    for number, record in enumerate(records):
        for option, name in wanted.items():
            if name and name not in record.values:
                there = ", ".join(record.values)
                raise UserError(f"{record.place}: no column {name!r}; there are {there}; --{option} names it")
        texts = [record.values[name] for name in (columns.text, columns.text_pair) if name]
        for text in texts:
            if not isinstance(text, str):
                raise UserError(f"{record.place}: {text!r} is {type(text).__name__}; a text is needed")
        index = str(record.values.get("index", record.values.get("id", number)))
        pair = texts[1] if columns.text_pair else None
        rows.append(Row(record.place, index, texts[0], pair, _text_of(record.values.get(columns.label), record.place)))
    return rows


def split_rows(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """(training, held-out): of the different texts the tenth that hash lowest is held out, with all their pairs.

    Raises:
        UserError: too few texts to hold any out.
    """
    return split_by_hash(rows, lambda row: row.text, "texts")


def split_by_hash(examples: Sequence[Example], key: Callable[[Example], str], kind: str) -> tuple[list, list]:
    """(training, held-out): of the different keys the tenth that hash lowest is held out; `kind` names many of them.

    Raises:
        UserError: too few keys to hold any out.
    """
    order = sorted(set(map(key, examples)), key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest())
    heldout = set(order[: max(1, round(HELDOUT_FRACTION * len(order)))])
    if len(heldout) == len(order):
        raise UserError(f"{len(order)} {kind} are too few to hold some out; give --dev=FILE")
    return [each for each in examples if key(each) not in heldout], [each for each in examples if key(each) in heldout]


def _text_of(label: object, place: str) -> str | None:
    """A label as text: what JSON writes for numbers and truth values."""
    if label is None or isinstance(label, str):
        return label
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, int | float):
        return str(label)
    raise UserError(f"{place}: the label is {type(label).__name__}; a text or a number is needed")
