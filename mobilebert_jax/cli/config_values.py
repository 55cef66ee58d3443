"""Settings as words: what a word on the command line means, and how a whole config prints."""

import ast
import math
import shlex
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.utils.errors import UserError

KINDS = {"bool": "true or false", "int": "a whole number", "float": "a finite number", "tuple": "values like 1,2,3"}
NOTHING = ("none", "null")
"""Words that mean the absence of a value, which no setting knows."""


def leaves_of(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """{dotted name: value} of all leaves."""
    leaves = {}
    for name, value in config.items():
        leaves |= leaves_of(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else {f"{prefix}{name}": value}
    return leaves


def format_config(config: ConfigDict) -> str:
    """The config as lines, each an override in the shell's spelling; groups are apart by nothing but their names."""
    return "".join(
        f"--config.{name}={shlex.quote(_text(value)) if value != '' and value != () else ''}\n"
        for name, value in leaves_of(config).items()
    )


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def parse_value(name: str, text: str, current: Any) -> Any:
    """`text` as a value of `current`'s type: bool, int (1e3 is one), float, tuple or string.

    Raises:
        UserError: a value of another type, or a None that would become the string 'None'.
    """
    try:
        if isinstance(current, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(current, int):
            return _parse_int(text)
        if isinstance(current, float):
            return _finite(float(text))
        if isinstance(current, tuple):
            return _parse_tuple(text)
    except (ValueError, KeyError, SyntaxError, OverflowError):
        kind = KINDS[type(current).__name__]
        raise UserError(f"--config.{name}={text}: {kind} is needed (now {current!r})") from None
    # 'none' itself is a choice of some settings (remat, strategy); what is no choice there is refused by its owner.
    if text.lower() in NOTHING and text != "none":
        raise UserError(
            f"--config.{name}={text}: no setting is ever {text}; where leaving it empty switches something off, "
            f"write --config.{name}= (now {current!r})"
        )
    return text


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = _finite(float(text))
        if not number.is_integer():
            raise
        return int(number)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is not finite")
    return number


def _parse_tuple(text: str) -> tuple:
    """'(1, 2)', '1,2' or 'a,b' as a tuple; '' and '()' as the empty one."""
    words = [word.strip().strip("'\"") for word in text.strip("()[] ").split(",") if word.strip()]
    if any(word.lower() in NOTHING for word in words):
        raise ValueError(f"{text} holds no values")
    return tuple(ast.literal_eval(word) if word.lstrip("+-")[:1].isdigit() else word for word in words)
