"""Writes a token store's arrays, which grow on disk, not in memory."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.utils.files import write_json

MANIFEST = "manifest.json"
ARRAYS = ("tokens", "sentence_offsets", "document_offsets")


class StoreWriter:
    """Grows a new store in `folder`, which is none before `finish` has written the manifest."""

    def __init__(self, folder: Path, dtype: np.dtype):
        folder.mkdir(parents=True)
        self._folder = folder
        self._arrays = {
            name: _GrowingArray(folder / f"{name}.npy", dtype if name == "tokens" else np.int64) for name in ARRAYS
        }
        self._num_tokens = self._num_sentences = self.num_documents = 0
        self._arrays["sentence_offsets"].append([0])
        self._arrays["document_offsets"].append([0])

    def add(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Appends one document: its tokens and the lengths of its sentences."""
        self._arrays["tokens"].append(tokens)
        self._arrays["sentence_offsets"].append(self._num_tokens + np.cumsum(lengths))
        self._num_tokens += len(tokens)
        self._num_sentences += len(lengths)
        self.num_documents += 1
        self._arrays["document_offsets"].append([self._num_sentences])

    def finish(self, identity: dict[str, Any]) -> dict[str, Any]:
        """Completes the arrays, then writes the manifest, which makes the folder a store."""
        self.close()
        counts = {
            "num_documents": self.num_documents,
            "num_sentences": self._num_sentences,
            "num_tokens": self._num_tokens,
        }
        content = hashlib.sha256("".join(self._arrays[name].sha256.hexdigest() for name in ARRAYS).encode())
        manifest = {**identity, **counts, "sha256": content.hexdigest()}
        write_json(self._folder / MANIFEST, manifest)
        return manifest

    def close(self) -> None:
        """Closes the files; a store that was not finished stays unreadable."""
        for array in self._arrays.values():
            array.close()


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
            self._file.seek(0)
            self._write_header()
            self._file.close()

    def _write_header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self._file, header)
