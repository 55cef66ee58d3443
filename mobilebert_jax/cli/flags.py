"""Command-line words to a config: `--config=FILE[:ARGUMENTS]` and `--config.a.b=value`."""

import importlib.util
import json
import math
import warnings
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.cli.config_values import KINDS, leaves_of, parse_value
from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.utils.errors import UserError

CONFIG_FOLDERS = (Path("configs"), Path(__file__).parents[1] / "configs", Path(__file__).parents[2] / "configs")
"""Where a config file that is not there as given is looked for: this folder, the installed package, the checkout."""

SUGGESTIONS = 3
"""How many settings an error about an unknown one names."""


def load_config(spec: str, overrides: Sequence[str]) -> ConfigDict:
    """The config of `FILE[:ARGUMENTS]` (a .py with `get_config`, or a run's config.json) with overrides applied.

    Raises:
        UserError: no such file, a file that is no config, or an override with an unknown name or a value of another
            type.
    """
    return load_with_source(spec, overrides)[0]


def load_with_source(spec: str, overrides: Sequence[str]) -> tuple[ConfigDict, dict[str, Any]]:
    """The config as above, and where it came from.

    That is `{"config": the file with its arguments, "changed": {setting: [there, here]}}`; a run's config.json hands on
    its own source, with what is changed now.
    """
    name, _, arguments = spec.partition(":")
    path = _find(name)
    if path.suffix == ".json":
        config, source = _read_run(path)
    else:
        config, source = _call(path, spec, arguments), {"config": spec, "changed": {}}
    _check_leaves(config, spec)
    before = leaves_of(config)
    for override in overrides:
        apply_override(config, override)
    config.lock()
    there = before | {setting: _tuples(values[0]) for setting, values in source["changed"].items()}
    here = leaves_of(config)
    changed = {setting: [there[setting], here[setting]] for setting in here if here[setting] != there[setting]}
    return config, {**source, "changed": changed}


def default_workdir(spec: str, suffix: str = "") -> Path:
    """runs/ and the config's name with its arguments; the folder of a run whose config.json is given."""
    name, _, arguments = spec.partition(":")
    path = Path(name)
    if path.suffix == ".json":
        return path.parent.with_name(path.resolve().parent.name + suffix) if suffix else path.parent
    words = [path.stem, *filter(None, arguments.split(","))]
    return Path("runs") / ("-".join(words) + suffix)


def apply_override(config: ConfigDict, override: str) -> None:
    """Applies one `a.b=value`; the value must be of the type that is there.

    Raises:
        UserError: unknown name (the nearest valid ones are suggested) or a value of another type.
    """
    name, separator, text = override.partition("=")
    if not separator:
        raise UserError(f"--config.{name}: write --config.{name}=value")
    *parents, leaf = name.split(".")
    node = config
    for part in parents:
        node = node.get(part) if isinstance(node, ConfigDict) else None
    if not isinstance(node, ConfigDict) or leaf not in node:
        near = ", ".join(f"--config.{each}" for each in nearest(name, list(leaves_of(config))))
        raise UserError(f"--config.{name}: no such setting; the nearest are {near}")
    if isinstance(node[leaf], ConfigDict):
        raise UserError(f"--config.{name}: a group of settings, not one: {', '.join(node[leaf])}")
    node[leaf] = parse_value(name, text, node[leaf])


def nearest(name: str, names: Sequence[str]) -> list[str]:
    """The names most like `name`; being alike in the last part counts as much as in the whole."""

    def likeness(candidate: str) -> float:
        last = SequenceMatcher(None, name.split(".")[-1], candidate.split(".")[-1]).ratio()
        return last + SequenceMatcher(None, name, candidate).ratio()

    return sorted(names, key=likeness, reverse=True)[:SUGGESTIONS]


def _find(name: str) -> Path:
    """The file as given; a name without a folder, or in configs/, also from the config folders, with or without .py."""
    path = Path(name)
    candidates = [path]
    if path.name and path.parent in (Path("."), Path("configs")):
        candidates += [folder / path.with_suffix(".py").name for folder in CONFIG_FOLDERS if path.suffix in ("", ".py")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = sorted({found.name for folder in CONFIG_FOLDERS for found in folder.glob("*.py")})
    raise UserError(f"--config={name}: no such file; configs that come with the project: {', '.join(known)}")


def _read_run(path: Path) -> tuple[ConfigDict, dict[str, Any]]:
    """The config that a run has written down, JSON's lists as the config's tuples, and its source: itself if unsaid.

    A run writes every setting that there is. One that it lacks came later: it is what it was without it, its default.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        config, source = _tuples(dict(run["config"])), run.get("source")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--config={path}: not the config.json of a run; give one, or a .py file") from error
    if not isinstance(source, dict) or not isinstance(source.get("changed"), dict):
        source = {"config": str(path), "changed": {}}
    before = leaves_of(config)
    _fill(config, default_config())
    if later := [f"{name}={value!r}" for name, value in leaves_of(config).items() if name not in before]:
        warnings.warn(f"--config={path}: written before there was {', '.join(later)}: the defaults", stacklevel=4)
    return config, source


def _fill(config: ConfigDict, defaults: ConfigDict) -> None:
    for name, value in defaults.items():
        if name not in config:
            config[name] = value
        elif isinstance(value, ConfigDict) and isinstance(config[name], ConfigDict):
            _fill(config[name], value)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return ConfigDict({name: _tuples(inner) for name, inner in value.items()})
    return tuple(value) if isinstance(value, list) else value


def _check_leaves(config: ConfigDict, spec: str) -> None:
    """UserError unless the config has exactly the settings that a run reads, each a value of its type."""
    found, known = leaves_of(config), leaves_of(default_config())
    for name in sorted(known.keys() - found.keys()):
        raise UserError(f"--config={spec}: the setting {name} is missing; start from recipes/defaults.py")
    for name, value in found.items():
        if name not in known:
            near = ", ".join(nearest(name, list(known)))
            raise UserError(f"--config={spec}: {name}: no such setting; the nearest are {near}")
        kind = type(known[name])
        if kind is float and type(value) is int:
            with config.ignore_type():
                config.update_from_flattened_dict({name: float(value)})
        elif type(value) is not kind or (kind is float and not math.isfinite(value)):
            wanted = KINDS.get(kind.__name__, "a text")
            raise UserError(f"--config={spec}: {name}={value!r}: {wanted} is needed, such as {known[name]!r}")


def _call(path: Path, spec: str, arguments: str) -> ConfigDict:
    """`get_config(arguments)` of a Python file."""
    if path.suffix != ".py":
        raise UserError(f"--config={spec}: a .py file with get_config, or a run's config.json, is needed")
    module_spec = importlib.util.spec_from_file_location("run_config", path)
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"--config={spec}: {path} has no function get_config")
        if arguments and module.get_config.__code__.co_argcount == 0:
            raise UserError(f"--config={spec}: {path.name} takes no arguments after the colon")
        config = module.get_config(arguments) if arguments else module.get_config()
    except UserError:
        raise
    except Exception as error:  # whatever a user's own file may raise
        raise UserError(f"--config={spec}: {path} fails with {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={spec}: get_config returns {type(config).__name__}; a ConfigDict is needed")
    return config
