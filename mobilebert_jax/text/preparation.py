"""Makes a token store of a corpus: shard by shard, on all cores, going on where it was interrupted."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mobilebert_jax.text.encoding import Encoded, Encoder, encode_in_order
from mobilebert_jax.text.shards import ALL, Cutter, Share
from mobilebert_jax.text.store import (
    COUNTS,
    MANIFEST,
    SHARDS,
    SPLITS,
    VERSION,
    open_shard,
    read_manifest,
    token_dtype,
)
from mobilebert_jax.text.store_writer import ShardWriter, finished_shard
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_json

SHARD_BYTES = 64_000_000


@dataclass(frozen=True)
class Preparation:
    """What a store is made of, and how.

    `corpus` is walked once; its `spec` and `identity`, if it has them, say that it is the same one another time.
    `sentences` names a splitter (`sentence_splitter`); shards end after `shard_bytes`.
    """

    corpus: Iterable[str]
    tokenizer: Tokenizer
    heldout_fraction: float
    sentences: str = "rules"
    shard_bytes: int = SHARD_BYTES

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the store's bytes, as the manifest has it."""
        if not 0 < self.heldout_fraction < 1:
            raise UserError(
                f"heldout_fraction={self.heldout_fraction}: a number between 0 and 1 (both excluded) is needed"
            )
        return {
            "version": VERSION,
            "corpus": getattr(self.corpus, "spec", None),
            "tokenizer": self.tokenizer.fingerprint(),
            "vocab_size": self.tokenizer.vocab_size,
            "heldout_fraction": self.heldout_fraction,
            **getattr(self.corpus, "identity", {}),
            "shard_bytes": self.shard_bytes,
            **({} if self.sentences == "rules" else {"sentences": self.sentences}),
        }

    @property
    def key(self) -> str:
        """The identity as one hash."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def known(self) -> bool:
        """Whether anything says that the corpus is the one of another time."""
        return self.identity["corpus"] is not None

    @property
    def encoder(self) -> Encoder:
        """What turns its documents into ids."""
        dtype = token_dtype(self.tokenizer.vocab_size)
        return Encoder(self.tokenizer, dtype, self.heldout_fraction, self.sentences)


def finished_store(folder: str | Path, preparation: Preparation) -> dict[str, Any] | None:
    """The manifest in `folder` if it was made of the same; None otherwise.

    Raises:
        UserError: it was, but a shard is missing, cut short or damaged; names the shard. Or nothing but the tokenizer
            is another one.
    """
    if not preparation.known or not Path(folder, MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(folder)
    except UserError:
        return None
    if manifest | preparation.identity != manifest:
        _check_tokenizer(folder, manifest, preparation)
        return None
    for entry in manifest["shards"]:
        for split in SPLITS:
            open_shard(Path(folder), entry["name"], split, entry[split])
    return manifest


def _check_tokenizer(folder: str | Path, manifest: dict[str, Any], preparation: Preparation) -> None:
    """Where only the tokenizer differs, and no new version of its library tells it apart, somebody has exchanged it."""
    same_library = manifest["versions"].get("tokenizers") == _version("tokenizers")
    other = {name for name, value in preparation.identity.items() if manifest.get(name) != value}
    if same_library and other and other <= {"tokenizer", "vocab_size"}:
        before, now = manifest["tokenizer"][:12], preparation.identity["tokenizer"][:12]
        raise UserError(
            f"{folder}: the token store was made by another tokenizer ({before}, now {now}); put that one back, or "
            "prepare in another folder"
        )


def build_store(
    folder: str | Path,
    preparation: Preparation,
    share: Share = ALL,
    workers: int = 0,
    progress: bool = True,
) -> dict[str, Any] | None:
    """Makes the shards of `share` that are not there yet; returns the manifest, or None while others are missing.

    The store's bytes do not depend on `share` and `workers` (processes; 0: one a core). What is in `folder` is kept as
    far as it is whole and comes from the same, and replaced otherwise. Whoever finishes last writes the manifest. Shard
    folders from other machines may simply be put together.

    Raises:
        UserError: fewer than 2 documents, or too little room on the disk.
    """
    folder, key = Path(folder), preparation.key
    _remove_others(folder, preparation)
    finished: dict[int, dict[str, Any]] = {}

    def wanted(shard: int) -> bool:
        entry = finished_shard(folder, _name(shard), key)
        if entry:
            finished[shard] = entry
        return share.has(shard) and entry is None

    cutter = Cutter(preparation.corpus, preparation.shard_bytes, wanted)
    with _Meter(preparation.corpus, cutter, share, progress) as meter:
        made = _write(folder, preparation, cutter, meter, workers)
    entries = {**finished, **made}
    missing = [shard for shard in range(cutter.shards) if shard not in entries]
    # Others may have finished theirs meanwhile.
    entries |= {shard: entry for shard in missing if (entry := finished_shard(folder, _name(shard), key))}
    if len(entries) < cutter.shards:
        return None
    return _join(folder, preparation, [entries[shard] for shard in range(cutter.shards)])


def _name(shard: int) -> str:
    return f"{shard:05d}"


def _remove_others(folder: Path, preparation: Preparation) -> None:
    """Takes away what was made of something else."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in (folder / SHARDS).glob("[0-9]*"):
        if not preparation.known or finished_shard(folder, path.name, preparation.key) is None:
            shutil.rmtree(path, ignore_errors=True)


def _write(
    folder: Path, preparation: Preparation, cutter: Cutter, meter: "_Meter", workers: int
) -> dict[int, dict[str, Any]]:
    """Makes what the cutter gives; returns each shard's entry for the manifest."""
    entries: dict[int, dict[str, Any]] = {}
    dtype, writer = token_dtype(preparation.tokenizer.vocab_size), None
    try:
        for piece, encoded in encode_in_order(preparation.encoder, cutter, workers):
            if writer is None:
                meter.check_room(folder, piece.bytes, encoded)
                writer = ShardWriter(folder, _name(piece.shard), dtype)
            writer.add(encoded, piece.bytes)
            meter.add(piece.bytes)
            if piece.last:
                entries[piece.shard] = writer.finish(preparation.key)
                writer = None
    finally:
        if writer is not None:
            writer.close()
    return entries


def _join(folder: Path, preparation: Preparation, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes the manifest of finished shards."""
    empty = [split for split in SPLITS if not sum(entry[split]["num_documents"] for entry in entries)]
    if empty:
        entries = _fill(folder, preparation, entries, *empty)
    manifest = {
        **preparation.identity,
        "versions": {name: _version(name) for name in ("mobilebert-jax", "tokenizers", "numpy")},
        "splits": {split: _sum([entry[split] for entry in entries]) for split in SPLITS},
        "shards": entries,
    }
    write_json(folder / MANIFEST, manifest)
    return manifest


def _sum(counts: list[dict[str, Any]]) -> dict[str, Any]:
    digest = hashlib.sha256("".join(count["sha256"] for count in counts).encode()).hexdigest()
    return {name: sum(count[name] for count in counts) for name in COUNTS} | {"sha256": digest}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _fill(
    folder: Path, preparation: Preparation, entries: list[dict[str, Any]], empty: str, *both: str
) -> list[dict[str, Any]]:
    """The entries once the corpus' first document lies on the side that is empty: neither may be."""
    full = next(split for split in SPLITS if split != empty)
    if both or sum(entry[full]["num_documents"] for entry in entries) < 2:
        shutil.rmtree(folder / SHARDS, ignore_errors=True)
        raise UserError("the corpus has fewer than 2 documents with text; training and held-out text need one each")
    place = next(place for place, entry in enumerate(entries) if entry[full]["num_documents"])
    entry = entries[place]
    tokens, sentences, documents = open_shard(folder, entry["name"], full, entry[full])
    lengths, sizes = np.diff(sentences.astype(np.int64)), np.diff(documents.astype(np.int64))
    cut, end = int(sizes[0]), int(sentences[sizes[0]])
    writer = ShardWriter(folder, entry["name"], tokens.dtype)
    try:
        first = Encoded(tokens[:end], lengths[:cut], sizes[:1])
        rest = Encoded(tokens[end:], lengths[cut:], sizes[1:])
        writer.add({empty: first, full: rest}, entry["bytes"])
        changed = writer.finish(preparation.key)
    finally:
        writer.close()
    return [*entries[:place], changed, *entries[place + 1 :]]


class _Meter:
    """A progress bar in bytes of text, and what is known of how much is left."""

    def __init__(self, corpus: Iterable[str], cutter: Cutter, share: Share, progress: bool):
        self._corpus, self._cutter, self._share = corpus, cutter, share
        self._done = 0
        self._bar = tqdm(desc="tokenizing", unit="B", unit_scale=True, disable=None if progress else True)

    def __enter__(self) -> "_Meter":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, size: int) -> None:
        """Counts what is finished."""
        self._done += size
        left = self._left()
        self._bar.total = None if left is None else round(self._done + left)
        self._bar.update(size)

    def _left(self) -> float | None:
        """Bytes that this process has still to tokenize; None where nobody knows."""
        cutter = self._cutter
        total = estimated_total(self._corpus, cutter.seen)
        if total is None:
            return None
        read = cutter.seen - cutter.skipped - self._done
        return read + max(0.0, total - cutter.seen) / self._share.of

    def check_room(self, folder: Path, size: int, encoded: dict[str, Encoded]) -> None:
        """UserError when the disk has clearly too little room for what is left; `encoded`, of `size`, is a sample."""
        left = self._left()
        if left is None:
            return
        needed = left * sum(map(stored_bytes, encoded.values())) / max(1, size)
        free = shutil.disk_usage(existing_folder(folder)).free
        if 0.8 * needed > free:  # estimates are no reason to refuse what may just fit
            raise UserError(
                f"{folder}: the disk has {free / 1e6:,.0f} MB free, the store needs about {needed / 1e6:,.0f} MB more; "
                "finished shards stay, start again when there is room"
            )


def estimated_total(corpus: Iterable[str], seen: int) -> float | None:
    """Bytes of the whole corpus, judged by how far into it `seen` bytes lead; None where nobody knows."""
    progress = getattr(corpus, "progress", None)
    share = progress() if progress else None
    return seen / share if share else None


def stored_bytes(documents: Encoded) -> int:
    """What they take on the disk."""
    return documents.tokens.nbytes + 4 * (len(documents.sentence_lengths) + len(documents.document_sizes))


def existing_folder(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.resolve().parents) if path.exists())
