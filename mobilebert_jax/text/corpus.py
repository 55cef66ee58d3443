"""What a corpus is, and what every kind of source needs: addresses, clean documents, libraries that may be missing."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from mobilebert_jax.utils.errors import UserError

STRICT = "strict"
ERRORS = (STRICT, "replace")
"""What to do about bytes that are not UTF-8: refuse the text, or put U+FFFD in their place."""

FIELD = "text"
"""The field that holds the document where no other is named."""

_ADDRESS = re.compile(r"(?P<where>.*?)(?:@(?P<split>[\w.-]+(?:\[[\w%:-]*\])?))?(?:#(?P<field>[^#/]*))?", re.DOTALL)


class Corpus(Protocol):
    """Documents that can be walked again and again, always in the same order.

    `spec` is what the user wrote. `identity` is what else decides the documents (fingerprints of files, what is left
    out): short names and plain values, for a store's manifest; empty where the spec alone decides.
    """

    spec: str
    identity: dict[str, Any]

    def __iter__(self) -> Iterator[str]:
        """Documents: paragraphs separated by a line feed, stripped, never empty."""
        ...

    def progress(self) -> float | None:
        """How far the newest walk has come, from 0 to 1; None where nobody knows."""
        ...


class Walk:
    """How far a walk through documents has come, in any unit."""

    def __init__(self) -> None:
        self.done = 0

    def of(self, total: float | None) -> float | None:
        """The share of `total` that is done; None where the total is not known."""
        return min(1.0, self.done / total) if total else None


@dataclass(frozen=True)
class Address:
    """`WHERE[@SPLIT][#FIELD]`, what stands behind `hf:` and `tfds:`; `split` and `field` have defaults."""

    where: str
    split: str
    field: str
    has_split: bool


def parse_address(rest: str, spec: str) -> Address:
    """Takes `WHERE[@SPLIT][#FIELD]` apart; UserError, naming `spec`, when nothing stands before `@` or `#`."""
    found = _ADDRESS.fullmatch(rest)
    if found is None or not found["where"] or found["field"] == "":
        raise UserError(f"corpus {spec!r}: NAME@SPLIT#FIELD is needed after the colon (@SPLIT and #FIELD if not usual)")
    return Address(found["where"], found["split"] or "train", found["field"] or FIELD, found["split"] is not None)


def clean_document(text: str) -> str:
    """The lines of a text that are not blank, stripped; halves of surrogate pairs become question marks."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "\n".join(filter(None, map(str.strip, text.splitlines())))


def refuse_field(where: str, field: str, present: list[str]) -> UserError:
    """The error for a field that is not there; `where` begins the line, `present` are the fields there are."""
    names = ", ".join(sorted(present)) or "none"
    return UserError(f'{where}: no field "{field}"; the fields are {names}: name one with #, as in #{FIELD}')


def library(module: str, spec: str) -> ModuleType:
    """Imports a library of the extra `data`; UserError, naming `spec` and what to install, when it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.replace("_", "-")
        raise UserError(
            f"{spec!r} needs the package {package} ({error}); pip install 'mobilebert-jax[data]' (or {package} alone)"
        ) from error


def one_line(error: BaseException) -> str:
    """What an error of a library says, on one line, cut where it becomes long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
