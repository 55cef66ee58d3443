"""BERT WordPiece: train one, or load what others trained. A thin wrapper over the `tokenizers` library."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from mobilebert_jax.text.word_memory import WordMemory
from mobilebert_jax.text.wordpiece import train_vocabulary
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_path, read_json, write_json, write_text

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
"""What the special tokens are for, in their order; a folder's settings may give a role to another token."""

SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")
"""Files beside a vocabulary that say which tokens are special and how text is prepared; the later one wins."""
CONTINUATION_PREFIX = "##"

# JSON may smuggle halves of surrogate pairs into a str; the Rust side takes valid Unicode only.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """Text to word-piece ids and back.

    `backend` is the `tokenizers.Tokenizer` itself, which adds no special tokens, never truncates and never pads;
    special tokens written in a text ("[MASK]") are recognised. `vocab_size` counts added tokens too.
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, source: str = "tokenizer", special_tokens: Sequence[str] = SPECIAL_TOKENS
    ):
        """Wraps `backend`; `special_tokens` play padding, unknown, first, separator and mask, in this order.

        Raises:
            UserError: no WordPiece, or without these tokens; the message names `source`.
        """
        backend.post_processor = None
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        settings = json.loads(backend.to_str())
        if settings["model"].get("type") != "WordPiece":
            raise UserError(f"{source}: its model is {settings['model'].get('type')}; a WordPiece tokenizer is needed")
        self.lowercase: bool = bool((settings["normalizer"] or {}).get("lowercase", False))
        missing = [token for token in special_tokens if backend.token_to_id(token) is None]
        if missing:
            raise UserError(f"{source}: no {' '.join(missing)} in the vocabulary; BERT's special tokens are needed")
        self.special_tokens = tuple(special_tokens)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = map(backend.token_to_id, special_tokens)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, lowercase: bool = True) -> "Tokenizer":
        """Learns at most `vocab_size` word pieces from `texts`, which are read once; equal texts give equal ids.

        [PAD] is 0, then [UNK], [CLS], [SEP], [MASK], the alphabet, the merged pieces. Raises UserError when the texts
        hold no words or `vocab_size` leaves no room for pieces.
        """
        vocabulary = train_vocabulary(texts, vocab_size, _normalizer(lowercase), SPECIAL_TOKENS)
        return cls(_wordpiece(vocabulary, _normalizer(lowercase)))

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Reads a vocab.txt, a tokenizer.json, or a folder with either (tokenizer.json wins).

        What tokenizer_config.json and special_tokens_map.json beside it say is followed: which tokens are special, and
        for a BERT normaliser `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`. Without them a vocab.txt
        is taken as uncased. Raises UserError for anything that is no BERT WordPiece vocabulary.
        """
        path = Path(path)
        if path.is_dir():
            candidates = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).is_file()]
            if not candidates:
                raise UserError(f"{path}: this folder holds neither tokenizer.json nor vocab.txt")
            path = candidates[0]
        if not path.is_file():
            raise UserError(f"{path}: no such tokenizer file; a vocab.txt, a tokenizer.json or their folder is needed")
        settings = _read_settings(path.parent)
        special = [settings.get(role, token) for role, token in zip(ROLES, SPECIAL_TOKENS, strict=True)]
        read = _read_json_backend if path.suffix == ".json" else _read_vocabulary_backend
        return cls(read(path, settings, special), str(path), special)

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json, vocab.txt, tokenizer_config.json and special_tokens_map.json.

        This is the layout that transformers' BERT and MobileBERT tokenizers load; the tokenizer.json there wraps texts
        as [CLS] A [SEP] B [SEP].
        """
        folder = Path(folder)
        _, _, cls, sep, _ = self.special_tokens
        complete = tokenizers.Tokenizer.from_str(self.backend.to_str())
        complete.post_processor = processors.TemplateProcessing(
            single=[cls, "$A", sep],
            pair=[cls, "$A", sep, "$B:1", f"{sep}:1"],
            special_tokens=[(cls, self.cls_id), (sep, self.sep_id)],
        )
        with atomic_path(folder / "tokenizer.json") as temporary:
            complete.save(str(temporary))
        write_text(folder / "vocab.txt", "".join(f"{piece}\n" for piece in self._pieces))
        names = dict(zip(ROLES, self.special_tokens, strict=True))
        write_json(folder / "special_tokens_map.json", names)
        # BertTokenizer is the class that every transformers version has, slow or fast, for MobileBERT too.
        normalizer = json.loads(self.backend.to_str())["normalizer"] or {}
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": self.lowercase, **names}
        config |= {"strip_accents": normalizer.get("strip_accents")}
        config |= {"tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True)}
        write_json(folder / "tokenizer_config.json", config)

    def encode_batch(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """One `Encoding` a text: `.ids`, and `.offsets`, half-open character ranges of that text; no special tokens."""
        return self.backend.encode_batch([_LONE_SURROGATE.sub("\ufffd", text) for text in texts])

    def ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The same ids alone, which is quicker."""
        return self._memory.ids_batch([_LONE_SURROGATE.sub("\ufffd", text) for text in texts])

    @cached_property
    def _memory(self) -> WordMemory:
        literal = [token.content for token in self.backend.get_added_tokens_decoder().values()]
        return WordMemory(self._encode, literal)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """Pieces joined to words, without special tokens."""
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def piece(self, index: int) -> str:
        """The piece with this id, as the vocabulary has it ('##ing')."""
        return self._pieces[index]

    @cached_property
    def _pieces(self) -> list[str]:
        """Every piece in the order of its id."""
        return [self.backend.id_to_token(index) for index in range(self.vocab_size)]

    @cached_property
    def continuation(self) -> np.ndarray:
        """bool [vocab_size], True for the pieces that continue a word ('##ing')."""
        return np.array([piece.startswith(CONTINUATION_PREFIX) for piece in self._pieces])

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of [PAD], [UNK], [CLS], [SEP], [MASK], in this order."""
        return (self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id)

    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides which ids a text gets."""
        settings = json.loads(self.backend.to_str())
        decisive = {name: settings[name] for name in ("normalizer", "pre_tokenizer", "model", "added_tokens")}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


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


def _read_settings(folder: Path) -> dict[str, Any]:
    """What the files beside a vocabulary say; roles as plain tokens. {} without files."""
    settings: dict[str, Any] = {}
    for name in SETTINGS:
        try:
            found = read_json(folder / name) if (folder / name).is_file() else {}
        except ValueError as error:
            raise UserError(f"{folder / name}: not JSON ({error})") from error
        if not isinstance(found, dict):
            raise UserError(f"{folder / name}: a JSON object is needed")
        settings |= found
    for role in ROLES:
        token = settings.get(role)
        token = token.get("content") if isinstance(token, dict) else token
        if token is None:
            settings.pop(role, None)
        elif not isinstance(token, str):
            raise UserError(f"{folder / SETTINGS[1]}: {role}={token!r}; a token is needed")
        else:
            settings[role] = token
    return settings


def _read_json_backend(path: Path, settings: Mapping[str, Any], special: Sequence[str]) -> tokenizers.Tokenizer:
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{path}: not a tokenizer.json that the tokenizers library reads ({error})") from error
    gaps = [
        index for index in range(backend.get_vocab_size(with_added_tokens=True)) if backend.id_to_token(index) is None
    ]
    if gaps:
        raise UserError(f"{path}: id {gaps[0]} has no token; ids must run from 0 without gaps")
    stored = json.loads(backend.to_str())["normalizer"] or {}
    # transformers lets tokenizer_config.json win over the normaliser of a tokenizer.json.
    if stored.get("type") == "BertNormalizer":
        own = {"tokenize_chinese_chars": stored["handle_chinese_chars"], "strip_accents": stored["strip_accents"]}
        lowercase = bool(settings.get("do_lower_case", stored["lowercase"]))
        backend.normalizer = _normalizer(lowercase, own | dict(settings))
    backend.add_special_tokens([AddedToken(token, special=True) for token in special if backend.token_to_id(token)])
    return backend


def _read_vocabulary_backend(path: Path, settings: Mapping[str, Any], special: Sequence[str]) -> tokenizers.Tokenizer:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        raise UserError(f"{path}: the vocabulary cannot be read ({error})") from error
    pieces = [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    if len(vocabulary) < len(pieces):
        twice = next(piece for index, piece in enumerate(pieces) if vocabulary[piece] != index)
        raise UserError(f"{path}: {twice!r} stands there twice; a vocab.txt has one piece a line, each once")
    return _wordpiece(vocabulary, _normalizer(bool(settings.get("do_lower_case", True)), settings), special)
