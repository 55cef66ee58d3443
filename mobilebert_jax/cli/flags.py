"""Command-line words to a config: `--config=FILE[:ARGUMENTS]` and `--config.a.b=value`."""

import ast
import difflib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.utils.errors import UserError

CONFIG_FOLDERS = (Path("configs"), Path(__file__).parents[1] / "configs", Path(__file__).parents[2] / "configs")
"""Where a config file that is not there as given is looked for: this folder, the installed package, the checkout."""


def load_config(spec: str, overrides: Sequence[str]) -> ConfigDict:
    """The config of `FILE[:ARGUMENTS]` (a .py with `get_config`, or a run's config.json) with overrides applied.

    Raises:
        UserError: no such file, or an override with an unknown name or a value of another type.
    """
    name, _, arguments = spec.partition(":")
    path = _find(name)
    if path.suffix == ".json":
        config = _tuples(json.loads(path.read_text(encoding="utf-8"))["config"])
    else:
        config = _call(path, spec, arguments)
    for override in overrides:
        apply_override(config, override)
    config.lock()
    return config


def _find(name: str) -> Path:
    """The file as given, or of that name in one of the config folders."""
    candidates = [Path(name), *(folder / Path(name).name for folder in CONFIG_FOLDERS)]
    for path in candidates:
        if path.is_file():
            return path
    known = sorted({path.name for folder in CONFIG_FOLDERS for path in folder.glob("*.py")})
    raise UserError(f"--config={name}: no such file; configs that come with the project: {', '.join(known)}")


def _call(path: Path, spec: str, arguments: str) -> ConfigDict:
    """`get_config(arguments)` of a Python file."""
    module_spec = importlib.util.spec_from_file_location("run_config", path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"--config={spec}: {path} has no function get_config")
    if not arguments:
        return module.get_config()
    if module.get_config.__code__.co_argcount == 0:
        raise UserError(f"--config={spec}: {path.name} takes no arguments after the colon")
    return module.get_config(arguments)


def _tuples(value: Any) -> Any:
    """JSON's lists are the config's tuples."""
    if isinstance(value, dict):
        return ConfigDict({name: _tuples(inner) for name, inner in value.items()})
    return tuple(value) if isinstance(value, list) else value


def apply_override(config: ConfigDict, override: str) -> None:
    """Applies one `a.b=value`; the value must be of the type that is there.

    Raises:
        UserError: unknown name (the nearest valid one is suggested) or a value of another type.
    """
    name, separator, text = override.partition("=")
    if not separator:
        raise UserError(f"--config.{name}: write --config.{name}=value")
    *parents, leaf = name.split(".")
    node = config
    for part in parents:
        node = node.get(part) if isinstance(node, ConfigDict) else None
    if not isinstance(node, ConfigDict) or leaf not in node or isinstance(node[leaf], ConfigDict):
        near = difflib.get_close_matches(name, leaf_names(config), n=1, cutoff=0.0)
        raise UserError(f"--config.{name}: no such setting; the nearest is --config.{near[0]}")
    node[leaf] = parse_value(name, text, node[leaf])


def leaf_names(config: ConfigDict, prefix: str = "") -> list[str]:
    """Dotted names of all leaves."""
    names = []
    for name, value in config.items():
        names += leaf_names(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else [f"{prefix}{name}"]
    return names


def parse_value(name: str, text: str, current: Any) -> Any:
    """`text` as a value of `current`'s type: bool, int (1e3 is one), float, tuple or string."""
    try:
        if isinstance(current, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(current, int):
            number = float(text)
            if not number.is_integer():
                raise ValueError
            return int(text) if text.lstrip("+-").isdigit() else int(number)
        if isinstance(current, float):
            return float(text)
        if isinstance(current, tuple):
            return _parse_tuple(text)
    except (ValueError, KeyError, SyntaxError, OverflowError):
        kind = {"bool": "true or false", "int": "a whole number", "float": "a number", "tuple": "values like 1,2,3"}
        raise UserError(f"--config.{name}={text}: {kind[type(current).__name__]} is needed (now {current!r})") from None
    return text


def _parse_tuple(text: str) -> tuple:
    """'(1, 2)', '1,2' or 'a,b' as a tuple; '' and '()' as the empty one."""
    words = [word.strip().strip("'\"") for word in text.strip("()").split(",") if word.strip()]
    return tuple(ast.literal_eval(word) if word.lstrip("+-")[:1].isdigit() else word for word in words)
