"""What everything here needs of a tokenizer, and the ways to get one: trained, or given."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import tokenizers

from mobilebert_jax.text.backend import backend_settings, read_backend
from mobilebert_jax.text.metaspace import Metaspace
from mobilebert_jax.text.sentencepiece import FILES, MODEL, SentencePiece
from mobilebert_jax.text.sentencepiece_training import COVERAGE
from mobilebert_jax.text.special_tokens import read_settings
from mobilebert_jax.text.tokenizer_files import MODELS
from mobilebert_jax.text.wordpiece import WordPiece
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import file_sha256

KINDS = ("wordpiece", "unigram", "bpe")
"""What can be trained; the last two are SentencePiece's."""

NAMES = ("tokenizer.json", "vocab.txt", *MODELS)
"""A folder's files by which it is known; the first that is there wins."""


class Encoding(Protocol):
    """A text's ids, and for each the half-open range of the text's characters that it stands for."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class Tokenizer(Protocol):
    """Text to ids and back.

    Ids run from 0 to `vocab_size`, excluded; `pieces[i]` is how the vocabulary writes the piece with id i. The five
    special tokens stand in the order padding, unknown, first, separator, mask.
    """

    vocab_size: int
    pieces: tuple[str, ...]
    special_tokens: tuple[str, ...]
    special_ids: tuple[int, ...]
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    lowercase: bool

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The same in the tokenizers library: what tokenizer.json holds, and what others will encode with."""
        ...

    @property
    def continuation(self) -> np.ndarray:
        """bool [vocab_size], True for the pieces that continue a word."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> Sequence[Encoding]:
        """Ids and places of each text's tokens, in order.

        Nothing is added, cut off or padded. Special tokens written in a text ("[MASK]") become their ids. Places are
        those in the text as it was given; they are empty where nothing of the text stands for a token alone.
        """
        ...

    def ids_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of `encode_batch`, faster."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Pieces joined to words, without special tokens."""
        ...

    def text_of(self, index: int) -> str:
        """The characters that a piece stands for, without the mark of its place in a word."""
        ...

    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides which ids a text gets."""
        ...

    def save(self, folder: str | Path) -> None:
        """Writes a folder that `load_tokenizer` and transformers' AutoTokenizer read; tokenizer_config.json last."""
        ...


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    lowercase: bool = True,
    kind: str = "wordpiece",
    coverage: float = COVERAGE,
) -> Tokenizer:
    """Learns a tokenizer of one of `KINDS` from texts, which are read once; equal texts give equal ids.

    [PAD] is 0, then [UNK], [CLS], [SEP], [MASK]. WordPiece learns at most `vocab_size` pieces and, uncased, drops
    accents, too; SentencePiece learns exactly so many, from the share `coverage` of the characters, and drops none.

    Raises:
        UserError: the texts hold no words, or too much or too little for `vocab_size`.
    """
    if kind == "wordpiece":
        return WordPiece.train(texts, vocab_size, lowercase)
    return SentencePiece.train(texts, vocab_size, lowercase, kind, coverage)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Reads a vocab.txt, a tokenizer.json, a SentencePiece .model, or a folder with one of them (see `NAMES`).

    What tokenizer_config.json and special_tokens_map.json beside it say is followed: which tokens are special, and
    for a BERT normaliser `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`. Without them a vocab.txt
    is taken as uncased. Raises UserError for anything that is neither WordPiece nor SentencePiece, or that lacks a
    special token.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).is_file()]
        if not found:
            raise UserError(
                f"{path}: this folder holds neither tokenizer.json nor vocab.txt nor a SentencePiece .model"
            )
        path = found[0]
    if not path.is_file():
        raise UserError(
            f"{path}: no such tokenizer file; a vocab.txt, a tokenizer.json, a SentencePiece .model or their folder is "
            "needed"
        )
    if path.suffix == ".model":
        return SentencePiece.from_file(path)
    if path.suffix != ".json":
        return WordPiece.from_vocabulary(path)
    if _written_here(path):
        return SentencePiece.from_file(path.parent / MODEL)
    backend = read_backend(path)
    kind = backend_settings(backend)["model"].get("type")
    return (WordPiece if kind == "WordPiece" else Metaspace).from_backend(backend, path)


def _written_here(path: Path) -> bool:
    """Whether a tokenizer.json was made from the SentencePiece model beside it, by `SentencePiece.save`."""
    prints = read_settings(path.parent).get(FILES)
    names = (MODEL, path.name)
    return isinstance(prints, dict) and all(
        (path.parent / name).is_file() and prints.get(name) == file_sha256(path.parent / name) for name in names
    )
