"""The token store: a corpus on disk as flat arrays, in shards that a manifest joins.

manifest.json                     what it was made of, counts, one entry a shard
shards/00000/train/tokens.npy     [tokens] uint16, or uint32 for vocabularies above 65536
shards/00000/train/sentences.npy  [sentences + 1] uint32: sentence s of the shard is tokens[sentences[s] : sentences[s + 1]]
shards/00000/train/documents.npy  [documents + 1] uint32: document d is sentences documents[d] : documents[d + 1]
shards/00000/heldout/...          the same for the documents that are kept for evaluation
shards/00000/shard.json           the shard's entry in the manifest
"""  # noqa: E501

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json

VERSION = 2
SPLITS = ("train", "heldout")
ARRAYS = ("tokens", "sentences", "documents")
MANIFEST, SHARD, SHARDS = "manifest.json", "shard.json", "shards"
COUNTS = ("num_documents", "num_sentences", "num_tokens")


@dataclass(frozen=True)
class TokenStore:
    """One side of a store opened for reading: its shards as if they were one.

    tokens            of each shard, uint16 or uint32, mapped from disk, not loaded
    sentence_offsets  [num_sentences + 1] int64: sentence s is tokens sentence_offsets[s] : sentence_offsets[s + 1],
                      counted over all shards
    document_offsets  [num_documents + 1] int64: document d is sentences document_offsets[d] : document_offsets[d + 1]

    The offsets are in memory, 8 bytes a sentence. No sentence and no document is empty, none lies in two shards.
    `manifest` says what this side comes from: counts, tokenizer fingerprint, vocab_size, corpus, split, SHA-256 of the
    content, version.
    """

    tokens: tuple[np.ndarray, ...]
    sentence_offsets: np.ndarray
    document_offsets: np.ndarray
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path, split: str) -> "TokenStore":
        """Maps one side of the store in `folder`; UserError names the shard that is missing, cut short or damaged."""
        folder = Path(folder)
        manifest = read_manifest(folder)
        parts = [open_shard(folder, entry["name"], split, entry[split]) for entry in manifest["shards"]]
        offsets = [_joined([part[place] for part in parts]) for place in (1, 2)]
        own = {name: value for name, value in manifest.items() if name not in ("splits", "shards", "versions")}
        return cls(tuple(part[0] for part in parts), *offsets, own | {"split": split} | manifest["splits"][split])

    @property
    def num_documents(self) -> int:
        """Number of documents."""
        return len(self.document_offsets) - 1

    @property
    def num_sentences(self) -> int:
        """Number of sentences."""
        return len(self.sentence_offsets) - 1

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return int(self.sentence_offsets[-1])

    def copy_tokens(self, start: np.ndarray, length: np.ndarray, target: np.ndarray, to: np.ndarray) -> None:
        """Copies n runs of tokens: run i, `length[i]` long from `start[i]`, to the flat `target` from `to[i]` on.

        A run must not leave its shard, which what lies inside a document never does.
        """
        if len(self.tokens) == 1:
            return _copy_runs(self.tokens[0], start, length, target, to)
        firsts = self._first_tokens
        shard = np.searchsorted(firsts, start, side="right") - 1
        order = np.argsort(shard, kind="stable")
        present, begins = np.unique(shard[order], return_index=True)
        for number, runs in zip(present, np.split(order, begins)[1:], strict=True):
            _copy_runs(self.tokens[number], start[runs] - firsts[number], length[runs], target, to[runs])

    @cached_property
    def _first_tokens(self) -> np.ndarray:
        """Where each shard begins, counted over all; an empty one begins where the next one does."""
        sizes = np.array([len(tokens) for tokens in self.tokens], np.int64)
        return np.cumsum(sizes) - sizes


def _copy_runs(tokens: np.ndarray, start: np.ndarray, length: np.ndarray, target: np.ndarray, to: np.ndarray) -> None:
    end = np.cumsum(length)
    place = np.arange(end[-1] if len(end) else 0)
    begin = end - length
    target[place + np.repeat(to - begin, length)] = tokens.take(place + np.repeat(start - begin, length))


def _joined(offsets: Sequence[np.ndarray]) -> np.ndarray:
    """Offsets of each shard, from 0, as offsets over all."""
    parts, base = [np.zeros(1, np.int64)], 0
    for part in offsets:
        parts.append(part[1:] + np.int64(base))
        base += int(part[-1])
    return np.concatenate(parts)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """A store's manifest.json; UserError when there is no finished store of this version in `folder`."""
    path = Path(folder, MANIFEST)
    if not path.is_file():
        raise UserError(f"{folder}: no token store there (no {MANIFEST}); `mobilebert prepare` makes one")
    try:
        manifest = read_json(path)
        version, parts = manifest["version"], [manifest.get("splits"), manifest.get("shards")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not the manifest of a token store; delete the folder and prepare again") from error
    if version != VERSION or None in parts:
        raise UserError(
            f"{path}: store version {version}, this program reads {VERSION}; delete the folder and prepare again"
        )
    return manifest


def shard_folder(folder: str | Path, name: str) -> Path:
    """Where the shard of this name lies."""
    return Path(folder, SHARDS, name)


def open_shard(folder: Path, name: str, split: str, counts: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Tokens, sentence and document offsets of one side of a shard, from 0; UserError unless `counts` are theirs."""
    place = shard_folder(folder, name) / split
    tokens, sentences, documents = (_map_array(place, array) for array in ARRAYS)
    sizes = {
        "num_tokens": (len(tokens), sentences[-1:]),
        "num_sentences": (len(sentences) - 1, documents[-1:]),
        "num_documents": (len(documents) - 1, np.array([counts["num_documents"]])),
    }
    for what, (size, last) in sizes.items():
        if size != counts[what] or last.tolist() != [size]:
            raise UserError(
                f"{place}: {what} should be {counts[what]}, but the arrays hold {size} and the offsets end at "
                f"{last.tolist()}; {_MEND}"
            )
    return tokens, sentences, documents


def is_intact(folder: str | Path, entry: dict[str, Any]) -> bool:
    """Whether the shard of this manifest entry is there with the content it was written with, every byte of it."""
    for split in SPLITS:
        try:
            arrays = open_shard(Path(folder), entry["name"], split, entry[split])
        except UserError:
            return False
        digests = "".join(hashlib.sha256(array).hexdigest() for array in arrays)
        if hashlib.sha256(digests.encode()).hexdigest() != entry[split]["sha256"]:
            return False
    return True


_MEND = "`mobilebert prepare`, as it was called before, makes this shard again"


def _map_array(folder: Path, name: str) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        # A plain ndarray over the mapping: np.memmap pays for every slice.
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; {_MEND}") from error
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: cut short or damaged ({error}); {_MEND}") from error
    wanted = (np.uint16, np.uint32) if name == "tokens" else (np.uint32,)
    if array.ndim != 1 or array.dtype not in wanted:
        raise UserError(f"{path}: {array.dtype} {list(array.shape)}; a store has {np.dtype(wanted[0])} [n] there")
    return array


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest of uint16 and uint32 that holds every id."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
