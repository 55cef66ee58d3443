"""What a SentencePiece .model file says: pieces, kind, how text is prepared.

The file is a protocol buffer (sentencepiece_model.proto of google/sentencepiece). The few fields that matter are read
and written here in the wire format: generated code is tied to one version of the protobuf package.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from mobilebert_jax.utils.errors import UserError

WORD_MARK = "\u2581"
"""What SentencePiece writes for a space, and thus at the beginning of a word's first piece."""

KINDS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}


class PieceType(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """A piece; its id is its place."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True)
class ModelFile:
    """A .model file; defaults are the format's own."""

    pieces: tuple[Piece, ...]
    kind: str = "unigram"
    byte_fallback: bool = False
    whitespace_suffix: bool = False  # the mark stands at the end of a word
    charsmap: bytes = b""  # normalisation, compiled by SentencePiece
    dummy_prefix: bool = True  # the first word gets a mark too
    squeeze_spaces: bool = True  # spaces at the ends go, several become one


def parse_model(data: bytes, source: str) -> ModelFile:
    """Reads a .model file's bytes; UserError, naming `source`, when they are none."""
    try:
        fields = list(_fields(data))
        pieces = tuple(_piece(dict(_fields(value))) for number, value in fields if number == 1)
        trainer, normalizer = (_merged(fields, number) for number in (2, 3))
        kind = KINDS[trainer.get(3, 1)]
    except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
        raise UserError(f"{source}: not a SentencePiece model") from error
    if not pieces:
        raise UserError(f"{source}: not a SentencePiece model")
    return ModelFile(
        pieces=pieces,
        kind=kind,
        byte_fallback=bool(trainer.get(35, False)),
        whitespace_suffix=bool(trainer.get(24, False)),
        charsmap=bytes(normalizer.get(2, b"")),
        dummy_prefix=bool(normalizer.get(3, True)),
        squeeze_spaces=bool(normalizer.get(4, True)),
    )


def replace_scores(data: bytes, change: Callable[[float], float]) -> bytes:
    """A .model file's bytes with another score for every piece."""
    fields = []
    for number, value in _fields(data):
        parts = [(key, change(part) if key == 2 else part) for key, part in _fields(value)] if number == 1 else None
        fields.append((number, value if parts is None else _message(parts)))
    return _message(fields)


def replace_normalizer(data: bytes, spec: bytes) -> bytes:
    """A .model file's bytes with another normalizer_spec, the part that says how text is prepared."""
    return _message([*((number, value) for number, value in _fields(data) if number != 3), (3, spec)])


def _piece(fields: dict[int, Any]) -> Piece:
    return Piece(bytes(fields[1]).decode("utf-8"), fields.get(2, 0.0), PieceType(fields.get(3, PieceType.NORMAL)))


def _merged(fields: list[tuple[int, Any]], number: int) -> dict[int, Any]:
    """The fields of the message `number`; of a field that stands there several times, the last."""
    return {key: value for found, message in fields if found == number for key, value in _fields(message)}


def _fields(data: bytes) -> Iterator[tuple[int, int | float | memoryview]]:
    """(number, value) of a message's fields: whole numbers, floats of four bytes, and what has a length."""
    data, at = memoryview(data), 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
        elif wire == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif wire == 5:
            (value,), at = struct.unpack_from("<f", data, at), at + 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(data):
            raise ValueError("cut short")
        yield key >> 3, value


def _message(fields: Iterable[tuple[int, int | float | memoryview | bytes]]) -> bytes:
    """What `_fields` takes apart."""
    message = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            message += _as_varint(number << 3) + _as_varint(value)
        elif isinstance(value, float):
            message += _as_varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            message += _as_varint(number << 3 | 2) + _as_varint(len(value)) + value
    return bytes(message)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, where it ends): seven bits a byte, lowest first, a bit in each that is not the last."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _as_varint(value: int) -> bytes:
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*head, value])
