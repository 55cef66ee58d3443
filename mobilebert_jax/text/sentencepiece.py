"""SentencePiece, unigram or BPE: train one, or load what others trained. A wrapper over the `sentencepiece` library."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece
import tokenizers
from tokenizers import AddedToken

from mobilebert_jax.text.backend import fast_config, write_backend
from mobilebert_jax.text.sentencepiece_backend import convert
from mobilebert_jax.text.sentencepiece_model import WORD_MARK, ModelFile, PieceType, parse_model
from mobilebert_jax.text.sentencepiece_rule import token_span
from mobilebert_jax.text.sentencepiece_training import COVERAGE, KINDS, train_model
from mobilebert_jax.text.special_tokens import (
    CONFIG,
    PieceTable,
    choose_special_tokens,
    read_settings,
    usual_special_tokens,
    valid_unicode,
)
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_path, file_sha256, write_json

MODEL = "spiece.model"
"""The model's name in the folders that are written here."""
FILES = "sentencepiece_files"
"""In tokenizer_config.json: fingerprints of a model and a tokenizer.json that were written as the same tokenizer."""


class Encoding(NamedTuple):
    """A text's ids, and for each the half-open range of the text's characters that it stands for."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class SentencePiece(PieceTable):
    """Text to SentencePiece ids and back.

    Special tokens written in a text ("[MASK]") are recognised, as with WordPiece; the library alone takes them for
    text. What stands before and behind one is encoded as a text of its own.
    """

    def __init__(self, data: bytes, source: str = "tokenizer", special_tokens: Sequence[str] = ()):
        """A tokenizer from a .model file's bytes.

        `special_tokens` play padding, unknown, first, separator and mask; if not given, they are BERT's, but <pad> and
        <unk> where those are missing.

        Raises:
            UserError: no SentencePiece model, one of a kind that is not supported, or without these tokens; the message
                names `source`.
        """
        self._data, self._model = data, parse_model(data, source)
        _check(self._model, source)
        pieces = [piece.text for piece in self._model.pieces]
        super().__init__(pieces, special_tokens or usual_special_tokens(pieces), source)
        if self._model.pieces[self.unk_id].type != PieceType.UNKNOWN:
            raise UserError(f"{source}: unk_token is {self.special_tokens[1]}, but the model has another for unknown")
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        self._special = re.compile("|".join(map(re.escape, self.special_tokens)))
        self.lowercase: bool = self._processor.normalize("A").endswith("a")

    def __reduce__(self) -> tuple:
        return SentencePiece, (self._data, "tokenizer", self.special_tokens)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        lowercase: bool = True,
        kind: str = "unigram",
        coverage: float = COVERAGE,
    ) -> "SentencePiece":
        """Learns exactly `vocab_size` pieces from `texts`, which are read once; see `train_model`."""
        return cls(train_model(texts, vocab_size, kind, lowercase, coverage))

    @classmethod
    def from_file(cls, path: Path) -> "SentencePiece":
        """A .model file, with the special tokens that the settings beside it name; UserError when it cannot be used."""
        settings = read_settings(path.parent)
        data = path.read_bytes()
        pieces = [piece.text for piece in parse_model(data, str(path)).pieces]
        found = cls(data, str(path), choose_special_tokens(settings, usual_special_tokens(pieces)))
        if settings.get("do_lower_case") and not found.lowercase:
            raise UserError(
                f"{path}: {CONFIG} beside it says do_lower_case, which the model itself does not do; "
                "give the tokenizer.json that transformers makes of both"
            )
        return found

    def save(self, folder: str | Path) -> None:
        """Writes spiece.model, tokenizer.json, special_tokens_map.json and tokenizer_config.json.

        transformers' AutoTokenizer loads that folder, from the tokenizer.json, which wraps texts as
        [CLS] A [SEP] B [SEP]; see `convert` for how far its ids are the same.
        """
        folder = Path(folder)
        with atomic_path(folder / MODEL) as temporary:
            temporary.write_bytes(self._data)
        write_backend(folder, self.backend, self)
        files = {name: file_sha256(folder / name) for name in (MODEL, "tokenizer.json")}
        write_json(folder / CONFIG, fast_config(self, self.lowercase) | {FILES: files})

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """One `Encoding` a text, without special tokens around it.

        A token's range holds no white space around it; a word's mark that is a token of its own has an empty one, where
        the word begins.
        """
        texts = valid_unicode(texts)
        found = self._encode(texts, "offset_mapping")
        return [
            self._encode_parts(text) if self._special.search(text) else self._encoding(text, one)
            for text, one in zip(texts, found, strict=True)
        ]

    def ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of `encode_batch`, without looking for their places."""
        texts = valid_unicode(texts)
        found = self._encode(texts, int)
        return [
            self._encode_parts(text).ids if self._special.search(text) else ids
            for text, ids in zip(texts, found, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Pieces joined to words, without special tokens."""
        return self._processor.decode([int(index) for index in ids if index not in self.special_ids])

    @cached_property
    def continuation(self) -> np.ndarray:
        """bool [vocab_size], True for the pieces that continue a word: those that do not begin with the word's mark."""
        return ~self.is_special & [not piece.startswith(WORD_MARK) for piece in self.pieces]

    @cached_property
    def backend(self) -> tokenizers.Tokenizer:
        """The same tokenizer in the tokenizers library, for tokenizer.json; see `convert`."""
        backend = convert(self._model, self._data, self.special_tokens[1])
        backend.add_special_tokens([AddedToken(token, special=True) for token in self.special_tokens])
        return backend

    def text_of(self, index: int) -> str:
        """The characters that a piece stands for, without the mark of a word's beginning."""
        return self.pieces[index].removeprefix(WORD_MARK)

    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides which ids a text gets."""
        model = self._model
        decisive = [model.kind, model.byte_fallback, model.charsmap.hex(), model.dummy_prefix, model.squeeze_spaces]
        return hashlib.sha256(json.dumps([decisive, model.pieces, self.special_tokens]).encode()).hexdigest()

    def _encode(self, texts: list[str], out_type: object) -> list:
        return self._processor.encode(texts, out_type=out_type, num_threads=_threads(len(texts))) if texts else []

    def _encoding(self, text: str, found: dict[str, list]) -> Encoding:
        marks = [self.pieces[index] == WORD_MARK for index in found["ids"]]
        spans = zip(found["offsets"], marks, strict=True)
        return Encoding(found["ids"], [token_span(text, *span, alone) for span, alone in spans])

    def _encode_parts(self, text: str) -> Encoding:
        """A text with special tokens in it."""
        ids, offsets, begin = [], [], 0
        for found in [*self._special.finditer(text), None]:
            end = found.start() if found else len(text)
            part = text[begin:end]
            own = self._encoding(part, self._encode([part], "offset_mapping")[0])
            ids += own.ids
            offsets += [(begin + first, begin + last) for first, last in own.offsets]
            if found:
                ids.append(self.special_ids[self.special_tokens.index(found[0])])
                offsets.append(found.span())
                begin = found.end()
        return Encoding(ids, offsets)


def _check(model: ModelFile, source: str) -> None:
    """UserError for a model that a masked language model cannot be built on."""
    if model.kind not in KINDS:
        raise UserError(f"{source}: a SentencePiece model of kind {model.kind}; one of {', '.join(KINDS)} is needed")
    if model.whitespace_suffix:
        raise UserError(f"{source}: its words' marks stand at their ends; a model with marks in front is needed")


def _threads(texts: int) -> int:
    """As many as there are cores, or 1; the switch is that of the tokenizers library."""
    off = os.environ.get("TOKENIZERS_PARALLELISM", "true").lower() in ("", "0", "off", "false", "f", "no", "n")
    return 1 if off else max(1, min(texts, os.cpu_count() or 1))
