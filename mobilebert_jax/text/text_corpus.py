"""`text:` documents of .txt and .jsonl files, plain or compressed."""

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mobilebert_jax.text.corpus import FIELD, clean_document, refuse_field
from mobilebert_jax.text.fingerprints import files_fingerprint
from mobilebert_jax.text.text_files import read_lines
from mobilebert_jax.utils.errors import UserError

TEXT_SUFFIXES = (".txt", ".jsonl")
COMPRESSED_SUFFIXES = (".gz", ".xz", ".zst")


@dataclass(frozen=True)
class TextFiles:
    """Documents of text files.

    In a .txt they are separated by blank lines (a file without any is one document) and a line is a paragraph; in a
    .jsonl every line is an object whose field `field` is the document.
    """

    spec: str
    paths: tuple[Path, ...]
    field: str = FIELD

    @cached_property
    def identity(self) -> dict[str, str]:
        """The files' fingerprint."""
        return {"corpus_fingerprint": files_fingerprint(self.paths)}

    def __iter__(self) -> Iterator[str]:
        empty = True
        for path in self.paths:
            documents = _json_documents(path, self.field) if _is_json(path) else _plain_documents(path)
            for document in documents:
                empty = False
                yield document
        if empty:
            raise UserError(f"corpus {self.spec!r}: no text in it")


def open_text(spec: str, pattern: str) -> TextFiles:
    """The files that `pattern`, a path or a glob with `#FIELD` behind it or not, names; `spec` is what errors call it.

    Raises UserError for a folder, a missing file, another file type, or a field of a .txt.
    """
    path, sharp, field = pattern.rpartition("#")
    if not sharp or "/" in field or _matches(pattern):
        return TextFiles(spec, _find_files(pattern, spec))
    files = TextFiles(spec, _find_files(path, spec), field or FIELD)
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


def _json_documents(path: Path, field: str) -> Iterator[str]:
    for number, line in enumerate(read_lines(path), start=1):
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
