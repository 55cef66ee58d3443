"""SentencePiece models that come as a tokenizer.json: XLM-R's, ALBERT's, what transformers makes of others."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers

from mobilebert_jax.text.backend import BackendTokenizer, backend_settings, fast_config, write_backend
from mobilebert_jax.text.sentencepiece import Encoding
from mobilebert_jax.text.sentencepiece_model import WORD_MARK
from mobilebert_jax.text.sentencepiece_rule import token_span
from mobilebert_jax.text.special_tokens import (
    CONFIG,
    choose_special_tokens,
    read_settings,
    usual_special_tokens,
    valid_unicode,
)
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_json

TYPES = ("Unigram", "BPE")


class Metaspace(BackendTokenizer):
    """Text to ids and back, by the tokenizers library, for pieces with SentencePiece's mark of a word's beginning."""

    def __init__(self, backend: tokenizers.Tokenizer, source: str, special_tokens: Sequence[str]):
        """Raises UserError for a model without these marks, or without these tokens; the message names `source`."""
        settings = backend_settings(backend)
        kind = settings["model"].get("type")
        preparation = json.dumps([settings["normalizer"], settings["pre_tokenizer"]], ensure_ascii=False)
        if kind not in TYPES or WORD_MARK not in preparation:
            raise UserError(f"{source}: its model is {kind}, not SentencePiece's; WordPiece or SentencePiece is needed")
        super().__init__(backend, source, special_tokens)
        self.lowercase: bool = backend.normalizer is not None and backend.normalizer.normalize_str("A").endswith("a")

    @classmethod
    def from_backend(cls, backend: tokenizers.Tokenizer, path: Path) -> "Metaspace":
        """What the tokenizer.json at `path` holds, with the special tokens that the settings beside it name."""
        usual = usual_special_tokens(backend.get_vocab())
        return cls(backend, str(path), choose_special_tokens(read_settings(path.parent), usual))

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json, special_tokens_map.json and tokenizer_config.json, which transformers loads."""
        folder = Path(folder)
        write_backend(folder, self.backend, self)
        write_json(folder / CONFIG, fast_config(self, self.lowercase))

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """One `Encoding` a text, without special tokens around it; ranges are those of `SentencePiece`."""
        texts = valid_unicode(texts)
        return [
            Encoding(found.ids, [token_span(text, *span, alone) for span, alone in _spans(found)])
            for text, found in zip(texts, self.backend.encode_batch(texts), strict=True)
        ]

    @cached_property
    def continuation(self) -> np.ndarray:
        """bool [vocab_size], True for the pieces that continue a word: those that do not begin with the word's mark."""
        return ~self.is_special & [not piece.startswith(WORD_MARK) for piece in self.pieces]

    def text_of(self, index: int) -> str:
        """The characters that a piece stands for, without the mark of a word's beginning."""
        return self.pieces[index].removeprefix(WORD_MARK)


def _spans(found: tokenizers.Encoding) -> Iterator[tuple[tuple[int, int], bool]]:
    """Each token's range, and whether it is the mark alone."""
    return ((span, token == WORD_MARK) for span, token in zip(found.offsets, found.tokens, strict=True))
