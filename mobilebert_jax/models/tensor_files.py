"""The weights of a model folder: model.safetensors, or its parts with model.safetensors.index.json."""

import contextlib
import dataclasses
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors

from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import file_sha256, read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}
DTYPES |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)} | {f"U{bits}": f"uint{bits}" for bits in (8, 16, 32)}
"""safetensors' names of dtypes."""


@dataclasses.dataclass(frozen=True)
class TensorHeader:
    """Shape and dtype of a tensor that has not been read."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def count(self) -> int:
        """Number of scalars."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Tensors:
    """The open weights of a folder: every header is read, each tensor when it is asked for."""

    headers: dict[str, TensorHeader]
    _files: dict[str, safetensors.safe_open]

    def read(self, name: str) -> np.ndarray:
        """One tensor in its own dtype, its memory the caller's."""
        return self._files[name].get_tensor(name)


def weight_files(folder: str | Path) -> tuple[Path, ...]:
    """The safetensors files of a model folder; the single file wins over an index.

    Raises:
        UserError: none there (a folder that has only a pickle is told how to convert it), or an index that names
            what is not there.
    """
    folder = Path(folder)
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if (folder / INDEX).is_file():
        return tuple(folder / name for name in sorted(set(_weight_map(folder / INDEX).values())))
    pickle = next((name for name in PICKLES if (folder / name).is_file()), None)
    if pickle:
        raise UserError(
            f"{folder / pickle}: a pickle can run any code when it is read and is not opened; convert it where you "
            "trust it, with transformers: AutoModel.from_pretrained(folder).save_pretrained(new_folder)"
        )
    raise UserError(f"{folder}: not a model folder, {WEIGHTS} missing")


def has_weights(folder: str | Path) -> bool:
    """True when the folder holds safetensors weights, whole or in parts."""
    return any((Path(folder) / name).is_file() for name in (WEIGHTS, INDEX))


def weights_sha256(folder: str | Path) -> str:
    """Hex SHA-256 of the one weights file, or of the parts' hashes in the order of their names.

    Raises:
        UserError: as `weight_files`.
    """
    hashes = [file_sha256(path) for path in weight_files(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


@contextlib.contextmanager
def open_tensors(folder: str | Path) -> Iterator[Tensors]:
    """The weights of a model folder, open for the length of the `with`.

    Raises:
        UserError: as `weight_files`; a file that is truncated or no safetensors; an index that does not say what
            its files hold.
    """
    folder = Path(folder)
    with contextlib.ExitStack() as stack:
        headers, files = {}, {}
        for path in weight_files(folder):
            file = stack.enter_context(_opened(path))
            for name in file.keys():  # noqa: SIM118 (no mapping)
                part = file.get_slice(name)
                dtype = part.get_dtype()
                headers[name] = TensorHeader(tuple(part.get_shape()), DTYPES.get(dtype, dtype))
                files[name] = file
        if not (folder / WEIGHTS).is_file():
            _check_index(folder / INDEX, headers)
        yield Tensors(dict(sorted(headers.items())), files)


def tensor_headers(folder: str | Path) -> dict[str, TensorHeader]:
    """Shapes and dtypes by name, sorted; no tensor is read. Raises as `open_tensors`."""
    with open_tensors(folder) as tensors:
        return tensors.headers


def _opened(path: Path) -> safetensors.safe_open:
    try:
        return safetensors.safe_open(path, framework="numpy")
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def _weight_map(path: Path) -> dict[str, str]:
    try:
        found = read_json(path)["weight_map"]
        pairs = dict(found.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f'{path}: an index of weights is needed, {{"weight_map": {{"tensor": "file"}}}}') from None
    for file in sorted({str(value) for value in pairs.values()}):
        if Path(file).name != file:
            raise UserError(f"{path}: names the file {file!r}; the parts must lie beside the index")
        if not (path.parent / file).is_file():
            raise UserError(f"{path}: names the file {file!r}, which is not there")
    if not pairs:
        raise UserError(f"{path}: names no tensors")
    return pairs


def _check_index(path: Path, headers: dict[str, TensorHeader]) -> None:
    differing = sorted(_weight_map(path).keys() ^ headers.keys())
    if differing:
        raise UserError(f"{path}: index and files do not hold the same tensors: {some(differing)}")


SHOWN = 4
"""How many names an error lists before it only counts."""


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
