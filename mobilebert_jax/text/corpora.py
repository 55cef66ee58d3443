"""Corpora by name: where documents come from."""

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mobilebert_jax.text import python_docs
from mobilebert_jax.text.text_files import read_lines
from mobilebert_jax.utils.errors import UserError

TEXT_SUFFIXES = (".txt", ".jsonl")
COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")


class Corpus(Protocol):
    """Documents that can be walked again and again, always in the same order."""

    spec: str

    def __iter__(self) -> Iterator[str]:
        """Documents: paragraphs separated by a line feed, stripped, never empty."""
        ...


def open_corpus(spec: str) -> Corpus:
    """The corpus that `spec` names.

    `builtin:python-docs` is the prose of this Python installation; anything else (also with `text:` in front) is the
    path, or a glob, of .txt or .jsonl files, plain or .gz, .xz, .zst. Raises UserError for an unknown scheme, a missing
    file or another file type; reading raises it for files that are corrupt, not UTF-8, or hold no document.
    """
    scheme, colon, rest = spec.partition(":")
    if spec == "builtin:python-docs":
        return PythonDocs(spec)
    if scheme == "builtin":
        raise UserError(f"corpus {spec!r}: there is no such builtin corpus; builtin:python-docs is the one there is")
    if scheme == "text" and colon:
        return TextFiles(spec, _find_files(rest, spec))
    if colon and scheme.isalnum() and len(scheme) > 1 and not Path(spec).exists():
        raise UserError(
            f"corpus {spec!r}: unknown scheme {scheme!r}; use builtin:python-docs or the path of a text file"
        )
    return TextFiles(spec, _find_files(spec, spec))


@dataclass(frozen=True)
class PythonDocs:
    """The prose that comes with Python."""

    spec: str

    def __iter__(self) -> Iterator[str]:
        return iter(python_docs.documents())


@dataclass(frozen=True)
class TextFiles:
    """Documents of text files.

    In a .txt they are separated by blank lines (a file without any is one document) and a line is a paragraph; in a
    .jsonl every line is an object whose field "text" is the document.
    """

    spec: str
    paths: tuple[Path, ...]

    def __iter__(self) -> Iterator[str]:
        empty = True
        for path in self.paths:
            reader = _json_documents if _text_suffix(path) == ".jsonl" else _plain_documents
            for document in reader(path):
                empty = False
                yield document
        if empty:
            raise UserError(f"corpus {self.spec!r}: no text in it")


def _text_suffix(path: Path) -> str:
    """'.txt' for 'wiki.txt.xz'."""
    return Path(path.stem).suffix if path.suffix in COMPRESSED_SUFFIXES else path.suffix


def _find_files(pattern: str, spec: str) -> tuple[Path, ...]:
    if Path(pattern).is_dir():
        raise UserError(f"corpus {spec!r}: this is a folder; name a file or a glob such as {Path(pattern, '*.txt')}")
    names = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))
    paths = tuple(Path(name) for name in names if Path(name).is_file())
    if not paths:
        raise UserError(f"corpus {spec!r}: no such file; a .txt or .jsonl (plain or .gz, .xz, .zst) is needed")
    for path in paths:
        if _text_suffix(path) not in TEXT_SUFFIXES:
            raise UserError(f"corpus {spec!r}: {path} is neither .txt nor .jsonl (plain or .gz, .xz, .zst)")
    return paths


def _plain_documents(path: Path) -> Iterator[str]:
    paragraphs: list[str] = []
    for line in read_lines(path):
        if line := line.strip():
            paragraphs.append(line)
        elif paragraphs:
            yield "\n".join(paragraphs)
            paragraphs = []
    if paragraphs:
        yield "\n".join(paragraphs)


def _json_documents(path: Path) -> Iterator[str]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f'{path}, line {number}: every line must be a JSON object with a field "text"') from error
        if not isinstance(text, str):
            raise UserError(f'{path}, line {number}: "text" is {type(text).__name__}; a string is needed')
        text = text.encode("utf-8", "replace").decode("utf-8")  # JSON may hold halves of surrogate pairs
        if document := "\n".join(filter(None, map(str.strip, text.splitlines()))):
            yield document
