"""What a path holds: a checkpoint, a token store, a model folder or a run, told apart by its files."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.inspection.stores import store_arrays, store_facts
from mobilebert_jax.models.folder_config import CONFIG
from mobilebert_jax.models.tensor_files import (
    TensorHeader,
    has_weights,
    open_tensors,
    tensor_headers,
    weights_sha256,
)
from mobilebert_jax.recipes.settings import PHASES
from mobilebert_jax.recipes.workdir import flat, read_run
from mobilebert_jax.text.store import MANIFEST, SHARDS
from mobilebert_jax.training.checkpoint_reader import StoredCheckpoint, finished_steps, is_step
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import file_sha256, read_json


@dataclasses.dataclass(frozen=True)
class Contents:
    """What lies at a path.

    Attributes:
        kind: checkpoint, store, model or run.
        facts: what else is known, as plain JSON values; fingerprints are hex SHA-256.
        leaves: arrays by name, parts separated by `separator`.
        load: reads all of them.
    """

    kind: str
    path: Path
    facts: dict[str, Any]
    leaves: dict[str, TensorHeader]
    load: Callable[[], dict[str, np.ndarray]]
    separator: str = "/"

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain JSON values."""
        tree = {name: {"shape": list(leaf.shape), "dtype": leaf.dtype} for name, leaf in self.leaves.items()}
        return {"kind": self.kind, "path": str(self.path), **self.facts, "tree": tree}


def read_contents(path: str | Path) -> Contents:
    """What lies at `path`; nothing there is changed.

    Raises:
        UserError: no such path, none of the four kinds, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_dir() and is_step(path):
        return _checkpoint(path, path)
    if steps := finished_steps(path):
        return _checkpoint(path, path / str(steps[-1]))
    if (path / MANIFEST).is_file() and (path / SHARDS).is_dir():
        return _store(path)
    if has_weights(path):
        return _model(path)
    if (path / CONFIG).is_file():
        return _run(path)
    raise UserError(
        f"{path}: nothing to inspect; give a run's folder, a phase's checkpoints (or one step of it), "
        "its data, or a model folder"
    )


def _checkpoint(path: Path, folder: Path) -> Contents:
    stored = StoredCheckpoint.open(folder)
    arrays = stored.load()
    leaves = {name: TensorHeader(tuple(leaf.shape), str(leaf.dtype)) for name, leaf in stored.leaves.items()}
    # Of the parameters' values: Orbax's files hold times, these are equal exactly when the parameters are.
    parameters = {name: value for name, value in arrays.items() if name.startswith("params/")}
    facts = {
        "step": int(folder.name) if folder.name.isdigit() else None,
        "steps": finished_steps(folder.parent),
        **{name: value for name, value in stored.meta.items() if name != "unlogged"},
        "parameters": sum(leaf.count for name, leaf in leaves.items() if name in parameters),
        "optimizer_slots": sum(leaf.count for name, leaf in leaves.items() if name not in parameters),
        "sha256": {"params": _sha256_of_arrays(parameters)},
    }
    return Contents("checkpoint", path, facts, leaves, stored.load)


def _sha256_of_arrays(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {value.dtype} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _store(path: Path) -> Contents:
    leaves = {name: TensorHeader(array.shape, str(array.dtype)) for name, array in store_arrays(path).items()}
    return Contents("store", path, store_facts(path), leaves, lambda: store_arrays(path))


def _model(path: Path) -> Contents:
    leaves = tensor_headers(path)
    try:
        config = read_json(path / CONFIG)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"not JSON ({error})"
        raise UserError(f"{path / CONFIG}: {reason}; a model folder has its config there") from error
    facts = {
        "architectures": config.get("architectures") if isinstance(config, dict) else None,
        "parameters": sum(leaf.count for leaf in leaves.values()),
        "config": config,
        "sha256": {entry.name: file_sha256(entry) for entry in sorted(path.iterdir()) if entry.is_file()},
    }
    return Contents("model", path, facts, leaves, lambda: _load_tensors(path), separator=".")


def _load_tensors(folder: Path) -> dict[str, np.ndarray]:
    with open_tensors(folder) as tensors:
        return {name: tensors.read(name) for name in tensors.headers}


def _run(path: Path) -> Contents:
    run = read_run(path / CONFIG)
    settings = flat(run["config"])
    data = store_facts(path / "data") if (path / "data" / MANIFEST).is_file() else {}
    model = _model(path / "model") if has_weights(path / "model") else None
    facts = {
        "identity": run["identity"],
        "inputs": run["inputs"],
        "source": run["source"],
        "environments": run["environments"],
        "data": data,
        "phases": {name: _phase(path / name, settings) for name in PHASES if (path / name).is_dir()},
        "config": settings,
        "sha256": {f"model/{name}": value for name, value in model.facts["sha256"].items()} if model else {},
    }
    if model is None:
        return Contents("run", path, facts, {}, dict)
    return Contents("run", path, facts, model.leaves, model.load, separator=".")


def _phase(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """How far a phase has come."""
    steps = finished_steps(folder / "checkpoints")
    meta = StoredCheckpoint.open(folder / "checkpoints" / str(steps[-1])).meta if steps else {}
    finished = has_weights(folder / "model")
    return {
        "step": steps[-1] if steps else 0,
        "of": settings.get(f"{folder.name}.steps"),
        "stage": meta.get("stage"),
        "finished": finished,
        "sha256": weights_sha256(folder / "model") if finished else None,
    }
