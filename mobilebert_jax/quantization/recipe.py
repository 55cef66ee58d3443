"""How a model folder wants to be quantized: two files beside its float32 weights, which int8 everywhere obeys.

`quantization.json` names the method and holds the ranges of activations; `calibration.safetensors` holds the tokens
that the ranges were measured on, for runtimes that measure their own graphs.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json, write_json
from mobilebert_jax.utils.types import INPUTS

RECIPE, SAMPLES = "quantization.json", "calibration.safetensors"

DYNAMIC, WEIGHT_ONLY, STATIC = METHODS = ("dynamic", "weight_only", "static")
"""Kernels and tables are integers in all of them. dynamic: activations become integers when they come, by their own
range. static: by a range that was measured before, on calibration data. weight_only: activations stay float32."""

Ranges = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""A kernel's name -> lowest and highest activation that meets it, float32 [] or, in a stack of blocks, [L]."""

Samples = Mapping[str, np.ndarray]
"""`INPUTS`, each [n, S] int32."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A method of `METHODS`; `ranges` and `samples` are those of `static`.

    Raises:
        UserError: no such method.
    """

    method: str = DYNAMIC
    ranges: Ranges = dataclasses.field(default_factory=dict)
    samples: Samples = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.method not in METHODS:
            raise UserError(f"quantization method {self.method!r}: must be one of {', '.join(METHODS)}")

    def save(self, folder: str | Path) -> None:
        """Writes the recipe's files into a model folder."""
        ranges = {name: [end.tolist() for end in ends] for name, ends in self.ranges.items()}
        write_json(Path(folder) / RECIPE, {"method": self.method, "ranges": ranges})
        if self.samples:
            samples = {name: np.ascontiguousarray(self.samples[name], np.int32) for name in INPUTS}
            safetensors.numpy.save_file(samples, Path(folder) / SAMPLES)


def read_recipe(folder: str | Path) -> Recipe:
    """The recipe of a model folder; one that has none is quantized dynamically.

    Raises:
        UserError: a recipe that cannot be read, or whose ranges or samples are missing.
    """
    path = Path(folder) / RECIPE
    if not path.is_file():
        return Recipe()
    try:
        found = read_json(path)
        ranges = {name: tuple(np.array(end, np.float32) for end in ends) for name, ends in found["ranges"].items()}
        recipe = Recipe(found["method"], ranges, _read_samples(path.with_name(SAMPLES)))
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path}: no recipe of quantization ({error}); `mobilebert quantize` writes one") from error
    if recipe.method == STATIC and not (recipe.ranges and recipe.samples):
        raise UserError(f"{path}: static needs ranges and {SAMPLES} beside it; `mobilebert quantize` writes both")
    return recipe


def _read_samples(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: {error}; `mobilebert quantize` writes it") from error
    return {name: found[name] for name in INPUTS}


@dataclasses.dataclass(frozen=True)
class WithRecipe:
    """A tokenizer's files and a recipe: what `save_pretrained` takes as a tokenizer."""

    tokenizer: Any
    recipe: Recipe

    def save(self, folder: Path) -> None:
        """Writes both."""
        self.tokenizer.save(folder)
        self.recipe.save(folder)
