"""A finished export, opened again: its own files, run by their own runtime, in the place of a model in JAX."""

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.export.checks import Run
from mobilebert_jax.export.formats import REPORT
from mobilebert_jax.inference.folders import Load, in_jax
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.utils.cores import cores
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json
from mobilebert_jax.utils.types import INPUTS, Batch

NAMES = {
    "onnx": {"float32": r"onnx/model\.onnx", "int8": r"onnx/model_quantized\.onnx"},
    "litert": {"float32": r"model-(\d+)\.tflite", "int8": r"model-(\d+)-int8\.tflite"},
    "stablehlo": {"float32": r"model-(\d+)\.stablehlo"},
}
"""Formats and precisions to files; where there is one a length, the length is a group."""


def exported_format(folder: str | Path) -> str:
    """The format of an exported folder; "" of any other folder."""
    path = Path(folder) / REPORT
    try:
        found = read_json(path) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); export the model anew") from error
    return found.get("format", "") if isinstance(found, dict) else ""


def load_exported(folder: str | Path, head: str, precision: str) -> tuple[ModelConfig, Callable[[Batch], Any]]:
    """The `inference.folders.Load` of exported folders: every row is run alone, as on a phone.

    ONNX gets a row without its padding but for one column, which a trigram may look at; the others get it padded to
    the shortest file that holds it. The config has as many positions as the longest file has.

    Raises:
        UserError: a format that is not run here, or no file of that precision.
    """
    kind = exported_format(folder)
    if kind not in NAMES:
        raise UserError(f"{folder}: an export as {kind!r} cannot be run here, only {', '.join(NAMES)}")
    files = _files(Path(folder), kind, precision)
    if not files:
        raise UserError(f"{folder}: no {precision} file of {kind} in it; `mobilebert export --format={kind}` makes one")
    cfg = read_folder_config(Path(folder) / CONFIG).cfg
    if 0 in files:  # any length
        runs, pads = {cfg.max_position_embeddings: _runner(kind, files[0])}, False
    else:
        runs, pads = {length: _runner(kind, path) for length, path in sorted(files.items())}, True
    return cfg.replace(max_position_embeddings=max(runs)), _by_rows(runs, pads, of_tokens=head != "classification")


def loader(folder: str | Path) -> Load:
    """What opens a folder: an exported one is run by its own runtime, any other by JAX."""
    return load_exported if exported_format(folder) else in_jax


def computed_in(folder: str | Path, precision: str) -> str:
    """What scores say they were computed in: the precision, and of an export its format, too: "onnx int8"."""
    return f"{exported_format(folder)} {precision}".strip()


def _files(folder: Path, kind: str, precision: str) -> dict[int, Path]:
    """Length, or 0 for any, to file."""
    pattern = NAMES[kind].get(precision, "(?!)")
    listed = read_json(folder / REPORT).get("files", {})
    matches = {name: re.fullmatch(pattern, name) for name in listed}
    return {int((*found.groups(), 0)[0]): folder / name for name, found in matches.items() if found}


def _runner(kind: str, path: Path) -> Run:
    try:
        if kind == "onnx":
            from mobilebert_jax.export import onnx

            return onnx.Runner(str(path), cores())
        if kind == "litert":
            from mobilebert_jax.export import litert

            return litert.Runner(str(path), cores())
    except ImportError as error:
        raise UserError(f"{error.name} is missing: pip install 'mobilebert-jax[{kind}]'") from error
    from mobilebert_jax.export import stablehlo

    return stablehlo.Runner(path.read_bytes())


def _by_rows(runs: dict[int, Run], pads: bool, of_tokens: bool) -> Callable[[Batch], Any]:
    """A batch to outputs, which have a value for each token or not; `runs` by their lengths, ascending."""

    def run(batch: Batch) -> Any:
        columns = batch["input_ids"].shape[1]
        rows = []
        for row in range(len(batch["input_ids"])):
            used = min(columns, int(np.sum(batch["attention_mask"][row])) + 1)
            length = next(each for each in runs if each >= used)
            given = [np.asarray(batch[name][row : row + 1, :used], np.int32) for name in INPUTS]
            if pads:
                given = [np.pad(each, ((0, 0), (0, length - used))) for each in given]
            outputs = {name: np.asarray(value)[0] for name, value in runs[length](*given).items()}
            rows.append({name: _columns(value, columns) if of_tokens else value for name, value in outputs.items()})
        return types.SimpleNamespace(**{name: np.stack([each[name] for each in rows]) for name in rows[0]})

    return run


def _columns(value: np.ndarray, wanted: int) -> np.ndarray:
    """Values of so many tokens, zeros where the row had none."""
    value = value[:wanted]
    return np.pad(value, ((0, wanted - len(value)), *((0, 0),) * (value.ndim - 1)))
