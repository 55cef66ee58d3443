"""Lines of text files, plain or compressed."""

import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from mobilebert_jax.utils.errors import UserError

CHUNK_BYTES = 1 << 20
TO_UTF8 = "convert it, or go on with --errors=replace"
"""What helps against bytes that are not UTF-8."""


def read_lines(
    path: str | Path, errors: str = "strict", opened: Callable[[BinaryIO], object] = lambda file: None
) -> Iterator[str]:
    """Lines of a UTF-8 file (a byte order mark is dropped), decompressed by its suffix .gz, .xz or .zst.

    `errors`: `strict`, or `replace`, which puts U+FFFD where bytes are not UTF-8. `opened` is handed the file as it
    lies on the disk, whose `tell` says how far reading has come. Raises UserError, naming the file, when it cannot be
    read, is cut short, corrupt, or not UTF-8.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            opened(raw)
            with io.TextIOWrapper(_decompressed(path, raw), encoding="utf-8-sig", errors=errors) as text:
                yield from text
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({first_bad_byte(path)}); {TO_UTF8}") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); the file must be whole and of the type its name says"
        ) from error


def first_bad_byte(path: Path) -> str:
    """Where a file stops being UTF-8: "line 3, byte 120: invalid start byte", of the text unpacked; "" if nowhere."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, offset, pending = 1, 0, 0
    with path.open("rb") as raw, _decompressed(path, raw) as data:
        while True:
            chunk = data.read(CHUNK_BYTES)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                return f"line {line}, byte {offset - pending + error.start}: {error.reason}"
            if not chunk:
                return ""
            line += chunk.count(b"\n")
            offset += len(chunk)
            pending = len(decoder.getstate()[0])


def _decompressed(path: Path, raw: io.BufferedIOBase) -> io.BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if path.suffix == ".xz":
        return lzma.LZMAFile(raw)
    if path.suffix == ".zst":
        return io.BufferedReader(_ZstdFile(raw), CHUNK_BYTES)
    return raw


class _ZstdFile(io.RawIOBase):
    """Frames of a zstd file one after another; unlike zstandard's own reader it notices a file that was cut short."""

    def __init__(self, raw: io.BufferedIOBase):
        self._raw = raw
        self._frame = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._output:
            self._input = self._input or self._raw.read(CHUNK_BYTES)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("the zstd data ends too early")
                return 0
            self._decompress_input()
        count = min(len(buffer), len(self._output))
        buffer[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def _decompress_input(self) -> None:
        self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        self._output = memoryview(self._frame.decompress(self._input))
        self._input = b""
        if self._frame.eof:
            self._input = self._frame.unused_data
            self._frame = None
