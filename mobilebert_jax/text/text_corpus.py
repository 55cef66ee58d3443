"""`text:` documents of .txt and .jsonl files, plain or compressed."""

import dataclasses
import glob
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from mobilebert_jax.text.corpus import FIELD, STRICT, clean_document, refuse_field
from mobilebert_jax.text.fingerprints import files_fingerprint
from mobilebert_jax.text.text_files import read_lines
from mobilebert_jax.utils.errors import UserError

TEXT_SUFFIXES = (".txt", ".jsonl")
COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")


class Position:
    """How far a walk through files has come, in bytes as they lie on the disk."""

    def __init__(self) -> None:
        self._before = self._size = 0
        self._file: BinaryIO | None = None

    def begin(self, file: BinaryIO) -> None:
        """The next file is opened, the one before is read to its end."""
        self._before += self._size
        self._file, self._size = file, os.fstat(file.fileno()).st_size

    @property
    def bytes(self) -> int:
        """Read so far."""
        if self._file is None:
            return 0
        return self._before + (self._size if self._file.closed else self._file.tell())


@dataclasses.dataclass(frozen=True)
class TextFiles:
    """Documents of text files.

    In a .txt they are separated by blank lines (a file without any is one document) and a line is a paragraph; in a
    .jsonl every line is an object whose field `field` is the document.
    """

    spec: str
    paths: tuple[Path, ...]
    field: str = FIELD
    errors: str = STRICT
    _position: list[Position] = dataclasses.field(default_factory=list, compare=False, repr=False)

    @cached_property
    def identity(self) -> dict[str, str]:
        """The files' fingerprint, and whether bytes that are not UTF-8 are replaced."""
        reading = {} if self.errors == STRICT else {"errors": self.errors}
        return {"corpus_fingerprint": files_fingerprint(self.paths)} | reading

    def __iter__(self) -> Iterator[str]:
        position = Position()
        self._position[:] = [position]
        for path in self.paths:
            lines = read_lines(path, self.errors, position.begin)
            documents = _json_documents(path, lines, self.field) if _is_json(path) else _plain_documents(lines)
            empty = True
            for document in documents:
                empty = False
                yield document
            if empty:  # a download that failed, more likely than not
                name = "" if len(self.paths) == 1 else f"{path}: "
                raise UserError(f"corpus {self.spec!r}: {name}no text in it")

    def progress(self) -> float | None:
        """By bytes of the files."""
        return min(1.0, self._position[0].bytes / self._size) if self._position and self._size else None

    @cached_property
    def _size(self) -> int:
        return sum(path.stat().st_size for path in self.paths)


def open_text(spec: str, pattern: str, errors: str = STRICT) -> TextFiles:
    """The files that `pattern`, a path or a glob with `#FIELD` behind it or not, names; `spec` is what errors call it.

    Raises UserError for a folder, a missing file, another file type, or a field of a .txt.
    """
    path, sharp, field = pattern.rpartition("#")
    if not sharp or "/" in field or _matches(pattern):
        return TextFiles(spec, _find_files(pattern, spec), errors=errors)
    files = TextFiles(spec, _find_files(path, spec), field or FIELD, errors)
    plain = next((path for path in files.paths if not _is_json(path)), None)
    if plain is not None:
        raise UserError(f"corpus {spec!r}: {plain} has no fields; only a .jsonl has")
    return files


def text_suffix(path: Path) -> str:
    """'.txt' for 'wiki.txt.xz'."""
    return Path(path.stem).suffix if path.suffix in COMPRESSED_SUFFIXES else path.suffix


def _is_json(path: Path) -> bool:
    return text_suffix(path) == ".jsonl"


def _matches(pattern: str) -> list[str]:
    return [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))


def _find_files(pattern: str, spec: str) -> tuple[Path, ...]:
    if Path(pattern).is_dir():
        raise UserError(
            f"corpus {spec!r}: this is a folder; name a file or a glob such as {Path(pattern, '*.txt')}, "
            f"or hf:{pattern} for a folder that the datasets library reads"
        )
    paths = tuple(Path(name) for name in _matches(pattern) if Path(name).is_file())
    if not paths:
        raise UserError(f"corpus {spec!r}: no such file; a .txt or .jsonl (plain or .gz, .xz, .zst) is needed")
    for path in paths:
        if text_suffix(path) not in TEXT_SUFFIXES:
            raise UserError(f"corpus {spec!r}: {path} is neither .txt nor .jsonl (plain or .gz, .xz, .zst)")
    return paths


def _plain_documents(lines: Iterator[str]) -> Iterator[str]:
    paragraphs: list[str] = []
    for line in lines:
        if line := line.strip():
            paragraphs.append(line)
        elif paragraphs:
            yield "\n".join(paragraphs)
            paragraphs = []
    if paragraphs:
        yield "\n".join(paragraphs)


def _json_documents(path: Path, lines: Iterator[str], field: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            row, cause = None, error
        else:
            cause = None
        if not isinstance(row, dict):
            raise UserError(
                f'{path}, line {number}: every line must be a JSON object with a field "{field}"'
            ) from cause
        if field not in row:
            raise refuse_field(f"{path}, line {number}", field, list(row))
        if not isinstance(row[field], str):
            raise UserError(f'{path}, line {number}: "{field}" is {type(row[field]).__name__}; a string is needed')
        if document := clean_document(row[field]):
            yield document
