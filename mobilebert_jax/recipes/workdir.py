"""A run's folder belongs to one config: what may change between restarts and what may not."""

import platform
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json, write_json

# The rest is identity: model, data, phases, optimizer, seed.
MAY_CHANGE = {
    "accumulation",
    "log_every",
    "evaluate_every",
    "evaluate_batches",
    "save_every",
    "keep_checkpoints",
    "remat",
}


def claim(workdir: Path, config: ConfigDict) -> None:
    """Writes config.json, or checks that the one there describes the same run.

    Raises:
        UserError: the folder was made by another config; the message names the first field that differs.
    """
    path = workdir / "config.json"
    resolved = config.to_dict()
    if path.exists():
        differing = first_difference(read_json(path)["config"], resolved)
        if differing is not None:
            name, old, new = differing
            raise UserError(
                f"config.{name}={new!r}: {workdir} was started with {old!r}, and this may not change between "
                "restarts; use another --workdir"
            )
    else:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--workdir={workdir}: {error.strerror}; give a folder that can be written") from error
    write_json(path, {"config": resolved, "versions": {"python": platform.python_version(), "jax": jax.__version__}})


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """(dotted name, old value, new value) of the first identity field that differs; None when none does."""
    old, new = flat(old), flat(new)
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        same = (
            list(before) == list(after) if isinstance(after, tuple | list) and before is not None else before == after
        )
        if name.split(".")[-1] not in MAY_CHANGE and not same:
            return name, before, after
    return None


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as {dotted name: leaf}."""
    leaves = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves
