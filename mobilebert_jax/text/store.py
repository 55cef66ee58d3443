"""The token store: a corpus as three flat arrays on disk, tokens, sentences and documents."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mobilebert_jax.text.splitters import sentence_splitter
from mobilebert_jax.text.store_writer import ARRAYS, MANIFEST, StoreWriter
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import UNFINISHED, read_json

VERSION = 1
SPLITS = ("train", "heldout")
BATCH_CHARACTERS = 1 << 20
"""Text that is tokenized at once."""


@dataclass(frozen=True)
class TokenStore:
    """A store opened for reading; the arrays are mapped from disk, not loaded.

    tokens            [num_tokens] uint16, or uint32 for vocabularies above 65536
    sentence_offsets  [num_sentences + 1] int64: sentence s is tokens[sentence_offsets[s] : sentence_offsets[s + 1]]
    document_offsets  [num_documents + 1] int64: document d is sentences document_offsets[d] : document_offsets[d + 1]

    No sentence and no document is empty. `manifest` is what manifest.json says: counts, tokenizer fingerprint,
    vocab_size, corpus, split, SHA-256 of the content, version.
    """

    tokens: np.ndarray
    sentence_offsets: np.ndarray
    document_offsets: np.ndarray
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> "TokenStore":
        """Maps the store in `folder`; UserError when it is missing, incomplete, or its sizes disagree."""
        folder = Path(folder)
        manifest = read_manifest(folder)
        tokens, sentence_offsets, document_offsets = (_map_array(folder, name) for name in ARRAYS)
        sizes = {
            "num_tokens": (len(tokens), sentence_offsets[-1:]),
            "num_sentences": (len(sentence_offsets) - 1, document_offsets[-1:]),
            "num_documents": (len(document_offsets) - 1, np.array([manifest.get("num_documents")])),
        }
        for name, (size, last) in sizes.items():
            if size != manifest.get(name) or last.tolist() != [size]:
                raise UserError(
                    f"{folder}: {name} is {manifest.get(name)} in {MANIFEST}, but the arrays hold {size} and the "
                    f"offsets end at {last.tolist()}; the store is damaged, delete it and prepare again"
                )
        return cls(tokens, sentence_offsets, document_offsets, manifest)

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
        return len(self.tokens)


def read_manifest(folder: Path) -> dict[str, Any]:
    """A store's manifest.json; UserError when there is no finished store of this version in `folder`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder}: no token store there (no {MANIFEST}); `mobilebert prepare` makes one")
    try:
        manifest = read_json(path)
        version = manifest["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the manifest of a token store; delete the folder and prepare again") from error
    if version != VERSION:
        raise UserError(
            f"{path}: store version {version}, this program reads {VERSION}; delete the folder and prepare again"
        )
    return manifest


def _map_array(folder: Path, name: str) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        # A plain ndarray over the mapping: np.memmap pays for every slice.
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: missing or damaged ({error}); delete the store and prepare again") from error
    wanted = (np.uint16, np.uint32) if name == "tokens" else (np.int64,)
    if array.ndim != 1 or array.dtype not in wanted:
        raise UserError(f"{path}: {array.dtype} {list(array.shape)}; a store has {np.dtype(wanted[0])} [n] there")
    return array


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest of uint16 and uint32 that holds every id."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


def build_stores(
    folder: str | Path,
    documents: Iterable[str],
    tokenizer: Tokenizer,
    heldout_fraction: float,
    progress: bool = True,
    sentences: str = "rules",
) -> dict[str, Any]:
    """Tokenizes a corpus into `folder`/train and `folder`/heldout; returns `{"train": manifest, "heldout": manifest}`.

    A document's side is decided by a hash of its text, so it stays there whatever else the corpus holds; the first
    document is placed last, where it is needed, for neither side may be empty. Stores already there are reused when
    they come from the same corpus (its `spec` and `identity`), tokenizer, fraction and splitter (`sentences`, see
    `sentence_splitter`), else replaced; a build that was killed leaves nothing that opens. Raises UserError for fewer
    than 2 documents or a fraction outside (0, 1).
    """
    folder = Path(folder)
    if not 0 < heldout_fraction < 1:
        raise UserError(f"heldout_fraction={heldout_fraction}: a number between 0 and 1 (both excluded) is needed")
    identity = {
        "version": VERSION,
        "corpus": getattr(documents, "spec", None),
        "tokenizer": tokenizer.fingerprint(),
        "vocab_size": tokenizer.vocab_size,
        "heldout_fraction": heldout_fraction,
        **getattr(documents, "identity", {}),
        **({} if sentences == "rules" else {"sentences": sentences}),
    }
    if existing := _existing_manifests(folder, identity):
        return existing
    building = folder / f"{UNFINISHED}stores"
    shutil.rmtree(building, ignore_errors=True)
    writers = {split: StoreWriter(building / split, token_dtype(tokenizer.vocab_size)) for split in SPLITS}
    try:
        _write_documents(writers, documents, tokenizer, heldout_fraction, progress, sentences)
        manifests = {split: writers[split].finish({**identity, "split": split}) for split in SPLITS}
        for split in SPLITS:
            shutil.rmtree(folder / split, ignore_errors=True)
        for split in SPLITS:
            (building / split).rename(folder / split)
    finally:
        for writer in writers.values():
            writer.close()
        shutil.rmtree(building, ignore_errors=True)
    return manifests


def encode_documents(
    documents: Iterable[str], tokenizer: Tokenizer, sentences: str = "rules"
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """`(text, tokens, sentence_lengths)` of every document, in order, tokenized many at a time.

    Sentences without tokens are left out; a document of such sentences alone comes with empty arrays.
    """
    dtype, split = token_dtype(tokenizer.vocab_size), sentence_splitter(sentences)
    for batch in _batches(documents):
        texts = [[s for paragraph in text.split("\n") for s in split(paragraph)] for text in batch]
        encodings = iter(tokenizer.encode_batch(list(chain.from_iterable(texts))))
        for text, parts in zip(batch, texts, strict=True):
            ids = [next(encodings).ids for _ in parts]
            tokens = np.fromiter(chain.from_iterable(ids), dtype)
            lengths = np.array([len(sentence) for sentence in ids if sentence], np.int64)
            yield text, tokens, lengths


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write_documents(
    writers: dict[str, StoreWriter],
    documents: Iterable[str],
    tokenizer: Tokenizer,
    fraction: float,
    progress: bool,
    sentences: str,
) -> None:
    first: tuple[str, np.ndarray, np.ndarray] | None = None
    with tqdm(desc="tokenizing", unit="B", unit_scale=True, disable=None if progress else True) as bar:
        for text, tokens, lengths in encode_documents(documents, tokenizer, sentences):
            bar.update(len(text.encode("utf-8", "replace")))
            if not len(lengths):
                continue
            if first is None:
                first = (text, tokens, lengths)
            else:
                writers[_split_of(text, fraction)].add(tokens, lengths)
    empty = [split for split, writer in writers.items() if not writer.num_documents]
    if first is None or len(empty) == len(writers):
        raise UserError("the corpus has fewer than 2 documents with text; training and held-out text need one each")
    writers[empty[0] if empty else _split_of(first[0], fraction)].add(*first[1:])


def _split_of(text: str, heldout_fraction: float) -> str:
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return "heldout" if int.from_bytes(digest, "big") < heldout_fraction * 2.0**64 else "train"


def _existing_manifests(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The manifests of a complete pair of stores with this identity."""
    if identity["corpus"] is None:
        return None  # nothing says that these are the same documents
    try:
        manifests = {split: TokenStore.open(folder / split).manifest for split in SPLITS}
    except UserError:
        return None
    same = all(manifests[split] | identity == manifests[split] for split in SPLITS)
    return manifests if same else None
