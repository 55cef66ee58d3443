"""BERT WordPiece: train one, or load what others trained. A thin wrapper over the `tokenizers` library."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from mobilebert_jax.text.backend import BackendTokenizer, backend_settings, write_backend
from mobilebert_jax.text.special_tokens import (
    CONFIG,
    SPECIAL_TOKENS,
    choose_special_tokens,
    read_settings,
    role_names,
    valid_unicode,
)
from mobilebert_jax.text.word_memory import WordMemory
from mobilebert_jax.text.wordpiece_training import train_vocabulary
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_json, write_text

CONTINUATION_PREFIX = "##"


class WordPiece(BackendTokenizer):
    """Text to word-piece ids and back."""

    def __init__(
        self, backend: tokenizers.Tokenizer, source: str = "tokenizer", special_tokens: Sequence[str] = SPECIAL_TOKENS
    ):
        """Wraps `backend`; `special_tokens` play padding, unknown, first, separator and mask, in this order.

        Raises:
            UserError: no WordPiece, or without these tokens; the message names `source`.
        """
        settings = backend_settings(backend)
        if settings["model"].get("type") != "WordPiece":
            raise UserError(f"{source}: its model is {settings['model'].get('type')}; a WordPiece tokenizer is needed")
        super().__init__(backend, source, special_tokens)
        self.lowercase: bool = bool((settings["normalizer"] or {}).get("lowercase", False))

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, lowercase: bool = True) -> "WordPiece":
        """Learns at most `vocab_size` word pieces from `texts`, which are read once; equal texts give equal ids.

        [PAD] is 0, then [UNK], [CLS], [SEP], [MASK], the alphabet, the merged pieces. Raises UserError when the texts
        hold no words or `vocab_size` leaves no room for pieces.
        """
        vocabulary = train_vocabulary(texts, vocab_size, _normalizer(lowercase), SPECIAL_TOKENS)
        return cls(_wordpiece(vocabulary, _normalizer(lowercase)))

    @classmethod
    def from_backend(cls, backend: tokenizers.Tokenizer, path: Path) -> "WordPiece":
        """What the tokenizer.json at `path` holds, with the settings beside it."""
        settings = read_settings(path.parent)
        stored = backend_settings(backend)["normalizer"] or {}
        # transformers lets tokenizer_config.json win over the normaliser of a tokenizer.json.
        if stored.get("type") == "BertNormalizer":
            own = {"tokenize_chinese_chars": stored["handle_chinese_chars"], "strip_accents": stored["strip_accents"]}
            lowercase = bool(settings.get("do_lower_case", stored["lowercase"]))
            backend.normalizer = _normalizer(lowercase, own | dict(settings))
        return cls(backend, str(path), choose_special_tokens(settings))

    @classmethod
    def from_vocabulary(cls, path: Path) -> "WordPiece":
        """A vocab.txt with the settings beside it; UserError when it is none."""
        settings = read_settings(path.parent)
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except ValueError as error:
            raise UserError(f"{path}: the vocabulary cannot be read ({error})") from error
        pieces = [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
        vocabulary = {piece: index for index, piece in enumerate(pieces)}
        if len(vocabulary) < len(pieces):
            twice = next(piece for index, piece in enumerate(pieces) if vocabulary[piece] != index)
            raise UserError(f"{path}: {twice!r} stands there twice; a vocab.txt has one piece a line, each once")
        special = choose_special_tokens(settings)
        normalizer = _normalizer(bool(settings.get("do_lower_case", True)), settings)
        return cls(_wordpiece(vocabulary, normalizer, special), str(path), special)

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json, vocab.txt, tokenizer_config.json and special_tokens_map.json.

        This is the layout that transformers' BERT and MobileBERT tokenizers load; the tokenizer.json there wraps texts
        as [CLS] A [SEP] B [SEP].
        """
        folder = Path(folder)
        write_backend(folder, self.backend, self)
        write_text(folder / "vocab.txt", "".join(f"{piece}\n" for piece in self.pieces))
        # BertTokenizer is the class that every transformers version has, slow or fast, for MobileBERT too.
        normalizer = backend_settings(self.backend)["normalizer"] or {}
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": self.lowercase}
        config |= role_names(self.special_tokens)
        config |= {"strip_accents": normalizer.get("strip_accents")}
        config |= {"tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True)}
        write_json(folder / CONFIG, config)

    def ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of `encode_batch`, without looking for their places, and quicker for words that were there before."""
        return (self._memory or super()).ids_batch(valid_unicode(texts))

    @cached_property
    def _memory(self) -> WordMemory | None:
        """None for a tokenizer.json that takes texts apart in another way than BERT's."""
        settings = backend_settings(self.backend)
        parts = [(settings[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer")]
        added = settings["added_tokens"]
        if parts != ["BertNormalizer", "BertPreTokenizer"] or any(token["normalized"] for token in added):
            return None
        return WordMemory(self._encode, [token["content"] for token in added])

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: not what this one remembers."""
        return {name: value for name, value in vars(self).items() if name != "_memory"}

    @cached_property
    def continuation(self) -> np.ndarray:
        """bool [vocab_size], True for the pieces that continue a word ('##ing')."""
        return np.array([piece.startswith(CONTINUATION_PREFIX) for piece in self.pieces])

    def text_of(self, index: int) -> str:
        """The characters that a piece stands for: '##ing' is 'ing'."""
        return self.pieces[index].removeprefix(CONTINUATION_PREFIX)


def _normalizer(lowercase: bool, settings: Mapping[str, Any] | None = None) -> normalizers.Normalizer:
    settings = settings or {}
    # strip_accents=None follows lower-casing, as BERT's own tokenizer does.
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=lowercase,
    )


def _wordpiece(
    vocabulary: dict[str, int], normalizer: normalizers.Normalizer, special: Sequence[str] = SPECIAL_TOKENS
) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=special[1], max_input_chars_per_word=100))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix=CONTINUATION_PREFIX)
    backend.add_special_tokens([AddedToken(token, special=True) for token in special if token in vocabulary])
    return backend
