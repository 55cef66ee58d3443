"""A run's folder belongs to one config: what may change between restarts and what may not."""

import contextlib
import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.models.tensor_files import weights_sha256
from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.recipes.environment import changes, environment
from mobilebert_jax.recipes.lock import make_workdir
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import file_sha256, read_json, write_json, write_text

# Settings, and the groups of the mesh and of GLUE, whose tasks have folders of their own. The rest is identity: model,
# data, phases, optimizer, seed.
MAY_CHANGE = {
    "accumulation",
    "log_every",
    "evaluate_every",
    "evaluate_batches",
    "save_every",
    "keep_checkpoints",
    "nonfinite_skips",
    "remat",
    "scan_unroll",
    "attention_kernel",
    "workers",
    "mesh",
    "glue",
}


def claim(
    workdir: Path,
    config: ConfigDict,
    inputs: Mapping[str, str] | None = None,
    source: Mapping[str, Any] | None = None,
) -> None:
    """Writes config.json, or checks that the one there describes the same run once the folder holds more than that.

    It holds the resolved config (`--config` reads it back), its identity hash, `inputs`, `source` and `environments`.
    `inputs` says what else decides the outcome: option or setting -> fingerprint of what it names, or its value.
    `source` says where the config came from, as `cli.flags.load_config` tells it. `environments` are those in which
    the folder was worked on, each once, in order: with more than one, the bits are no longer those of any one machine.

    Raises:
        UserError: the folder was made by another config or from other inputs; the message names the first that differs.
    """
    resolved, inputs = config.to_dict(), dict(inputs or {})
    path = make_workdir(workdir) / "config.json"
    environments = []
    if path.exists():
        started = read_run(path)
        # As long as nothing was made, a config that turned out to be wrong may still be put right.
        if any(entry != path and not entry.name.startswith(".") for entry in workdir.iterdir()):
            _check_same(workdir, started, resolved, inputs)
            environments = started["environments"]
    run = {"config": resolved, "identity": identity_hash(resolved, inputs), "inputs": inputs}
    run |= {"source": dict(source or {}), "environments": _with_this(environments, path)}
    write_json(path, run)


def _with_this(environments: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """The environments with this one; a change is warned of."""
    now = environment()
    if not environments or environments[-1] == now:
        return environments or [now]
    changed = changes(environments[-1], now)
    warnings.warn(f"{path}: not the environment the run began in ({changed}): its bits may differ", stacklevel=3)
    return environments if now in environments else [*environments, now]


@contextlib.contextmanager
def unchanged_if_refused(workdir: Path) -> Iterator[None]:
    """Around what happens before training: a UserError leaves the folder as it was, config.json and data/ included.

    What was there before stays: only a data/ that is new is taken away again.
    """
    path, data = workdir / "config.json", workdir / "data"
    before, had_data = path.read_bytes() if path.is_file() else None, data.exists()
    try:
        yield
    except UserError:
        if not had_data:
            shutil.rmtree(data, ignore_errors=True)
        if before is None:
            with contextlib.suppress(OSError):
                path.unlink()
        elif path.read_bytes() != before:
            write_text(path, before.decode())
        raise


def file_input(name: str, path: str | Path) -> str:
    """SHA-256 of a file, or of a model folder's weights, for `claim`; UserError that names the setting if missing."""
    path = Path(path)
    if path.is_dir():
        try:
            return weights_sha256(path)
        except UserError as error:
            raise UserError(f"{name}={error}") from None
    if not path.is_file():
        raise UserError(f"{name}={path}: no such file")
    return file_sha256(path)


def identity_hash(resolved: dict[str, Any], inputs: Mapping[str, str]) -> str:
    """Hex SHA-256 of everything that decides a run's outcome."""
    leaves = {name: value for name, value in flat(resolved).items() if is_identity(name)}
    return hashlib.sha256(json.dumps([leaves, dict(inputs)], sort_keys=True).encode()).hexdigest()


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """(dotted name, old value, new value) of the first identity field that differs; None when none does."""
    old, new = flat(old), flat(new)
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if is_identity(name) and before != after:
            return name, before, after
    return None


def is_identity(name: str) -> bool:
    """True for the dotted name of a setting that may not change between restarts."""
    parts = name.split(".")
    return not MAY_CHANGE & {parts[0], parts[-1]}


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as {dotted name: leaf}; tuples as the lists that JSON makes of them."""
    leaves = {}
    for name, value in tree.items():
        plain = list(value) if isinstance(value, tuple) else value
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": plain}
    return leaves


def read_run(path: Path) -> dict[str, Any]:
    """The config.json of a run: config, identity, inputs, source, environments; UserError when it is no run's."""
    try:
        found = read_json(path)
        parts = {name: dict(found[name]) for name in ("config", "inputs")}
        parts |= {"identity": str(found["identity"]), "source": dict(found.get("source", {}))}
        return parts | {"environments": list(map(dict, found.get("environments", [])))}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the config.json of a run; give the folder of one") from error


def _check_same(workdir: Path, old: dict[str, Any], resolved: dict[str, Any], inputs: dict[str, str]) -> None:
    # A folder from before a setting existed was made with what is now its default.
    differing = first_difference(flat(default_config().to_dict()) | flat(old["config"]), resolved)
    if differing is not None:
        name, before, after = differing
        raise UserError(
            f"config.{name}={after!r}: {workdir} was started with {before!r}, and this may not change between "
            f"restarts; use another --workdir, or change only {', '.join(sorted(MAY_CHANGE))}, which may"
        )
    for name in sorted({*old["inputs"], *inputs}):
        before, after = old["inputs"].get(name, "none"), inputs.get(name, "none")
        if before != after:
            raise UserError(
                f"{name}: {workdir} was started with another one ({before[:12]}, now {after[:12]}); "
                "use another --workdir"
            )
