"""Writes the shards of a token store; arrays grow on disk, not in memory."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.text.encoding import Encoded
from mobilebert_jax.text.store import ARRAYS, SHARD, SPLITS, open_shard, shard_folder
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.faults import naming
from mobilebert_jax.utils.files import UNFINISHED, read_json, write_json


class ShardWriter:
    """Grows the shard `name` of the store in `folder`; it is there once `finish` has given it its name."""

    def __init__(self, folder: Path, name: str, dtype: np.dtype):
        self._final, self._name = shard_folder(folder, name), name
        self._folder = self._final.with_name(f"{UNFINISHED}{name}")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._sides = {split: SideWriter(self._folder / split, dtype) for split in SPLITS}
        self._bytes = 0

    def add(self, encoded: Mapping[str, Encoded], size: int) -> None:
        """Appends documents by side; `size` is how many bytes of text they were."""
        with naming(self._final):
            for split, documents in encoded.items():
                self._sides[split].add(documents)
        self._bytes += size

    def finish(self, identity: str) -> dict[str, Any]:
        """Completes the shard and returns its entry for the manifest; `identity` says what the store is made of."""
        sides = {split: side.finish() for split, side in self._sides.items()}
        entry = {"name": self._name, "bytes": self._bytes, **sides}
        write_json(self._folder / SHARD, {"identity": identity, **entry})
        shutil.rmtree(self._final, ignore_errors=True)
        self._folder.rename(self._final)
        return entry

    def close(self) -> None:
        """Closes the files; a shard that was not finished goes."""
        for side in self._sides.values():
            side.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class SideWriter:
    """The three arrays of one side of a shard, in `folder`."""

    def __init__(self, folder: Path, dtype: np.dtype):
        folder.mkdir(parents=True)
        self._tokens, self._sentences, self._documents = self._arrays = [
            _GrowingArray(folder / f"{name}.npy", dtype if name == "tokens" else np.uint32) for name in ARRAYS
        ]
        self._sentences.append([0])
        self._documents.append([0])
        self._num_tokens = self._num_sentences = self._num_documents = 0

    def add(self, documents: Encoded) -> None:
        """Appends documents."""
        if not len(documents.document_sizes):
            return
        sentence_ends = self._num_tokens + np.cumsum(documents.sentence_lengths)
        document_ends = self._num_sentences + np.cumsum(documents.document_sizes)
        self._num_tokens, self._num_sentences = int(sentence_ends[-1]), int(document_ends[-1])
        if self._num_tokens >= 1 << 32:
            raise UserError("a shard of more than 4,294,967,295 tokens: use a smaller data.shard_bytes")
        self._num_documents += len(document_ends)
        self._tokens.append(documents.tokens)
        self._sentences.append(sentence_ends)
        self._documents.append(document_ends)

    def finish(self) -> dict[str, Any]:
        """Completes the arrays; returns counts and the SHA-256 of their content."""
        self.close()
        return {
            "num_documents": self._num_documents,
            "num_sentences": self._num_sentences,
            "num_tokens": self._num_tokens,
            "sha256": hashlib.sha256("".join(a.sha256.hexdigest() for a in self._arrays).encode()).hexdigest(),
        }

    def close(self) -> None:
        """Closes the files."""
        for array in self._arrays:
            array.close()


def finished_shard(folder: Path, name: str, identity: str) -> dict[str, Any] | None:
    """The manifest's entry of a shard that is there, whole and made of the same; None otherwise."""
    try:
        entry = read_json(shard_folder(folder, name) / SHARD)
        if entry.pop("identity") != identity:
            return None
        for split in SPLITS:
            open_shard(folder, name, split, entry[split])
        return entry
    except (OSError, ValueError, KeyError, AttributeError, TypeError, UserError):
        return None


class _GrowingArray:
    """A one-dimensional .npy file of unknown length; its header, which NumPy pads for that, is rewritten at the end."""

    def __init__(self, path: Path, dtype: np.typing.DTypeLike):
        self._dtype = np.dtype(dtype)
        self._length = 0
        self._file = path.open("wb")
        self.sha256 = hashlib.sha256()
        self._write_header()

    def append(self, values: np.typing.ArrayLike) -> None:
        data = np.ascontiguousarray(values, self._dtype).tobytes()
        self._file.write(data)
        self.sha256.update(data)
        self._length += len(data) // self._dtype.itemsize

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._file.seek(0)
                self._write_header()
            finally:
                self._file.close()

    def _write_header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self._file, header)
