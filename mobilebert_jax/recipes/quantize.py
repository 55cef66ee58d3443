"""`mobilebert quantize`: a model folder and the recipe by which int8 is made of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax

from mobilebert_jax.export.hugging_face import STORED, describe, read_stored
from mobilebert_jax.models.pretrained import check_replaceable, save_pretrained
from mobilebert_jax.quantization.calibration import make_recipe
from mobilebert_jax.quantization.int8 import quantize_params
from mobilebert_jax.quantization.recipe import STATIC, Recipe, Samples, WithRecipe
from mobilebert_jax.recipes.calibration import Wanted, read_samples
from mobilebert_jax.recipes.questions import THRESHOLDS
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.text.tokenizer_files import TokenizerFiles
from mobilebert_jax.utils.errors import UserError

LENGTHS = {True: 384, False: 128}
"""Tokens of a sample where nothing else is said: of questions over passages, of anything else."""


def quantize_folder(
    source: str | Path,
    output: str | Path,
    method: str,
    calibration: str = "",
    task: str = "",
    wanted: Wanted | None = None,
) -> dict[str, Any]:
    """A copy of a model folder whose int8 is made by `method`; returns what `describe` says, and sizes in bytes.

    The weights stay float32: the recipe lies beside them, and every way to int8 obeys it (`evaluate --precision=int8`,
    `export`). `calibration` names what the ranges of `static` are measured on, see `read_samples`.

    Raises:
        UserError: no such model or method, calibration data that is missing, empty or of another form, or an `output`
            that is something else; nothing is written then.
    """
    check_replaceable(output)
    Recipe(method)
    if bool(calibration) != (method == STATIC):
        raise UserError(
            f"--calibration={calibration}: --method={method} measures no ranges, only static does"
            if calibration
            else f"--method={STATIC}: needs --calibration=, a text or a task's training examples to measure ranges on"
        )
    model, params = read_stored(Path(source), STORED)
    files = TokenizerFiles(Path(source))
    samples: Samples = {}
    if method == STATIC:
        wanted = fitting(model, task, wanted or Wanted(sequence_length=0))
        samples = read_samples(calibration, task, source, load_tokenizer(source), wanted)
    recipe = make_recipe(model, params, method, samples)
    save_pretrained(output, model, params, WithRecipe(files, recipe))
    stored = jax.eval_shape(quantize_params, params)
    return {
        **describe(model, params, files),
        "method": method,
        "examples": len(samples["input_ids"]) if samples else 0,
        "float32_bytes": _bytes(params),
        "int8_bytes": _bytes(stored),
    }


def fitting(model: nn.Module, task: str, wanted: Wanted) -> Wanted:
    """With a length that the model has, the usual one where none is wanted."""
    positions = model.cfg.max_position_embeddings
    length = wanted.sequence_length or min(LENGTHS[task in THRESHOLDS], positions)
    if not 2 < length <= positions:
        raise UserError(f"--sequence_length={length}: from 3 to the model's {positions} positions")
    if wanted.examples < 1:
        raise UserError(f"--examples={wanted.examples}: must be at least 1")
    return Wanted(wanted.examples, length, wanted.columns, wanted.bad_rows)


def _bytes(params: Mapping[str, Any]) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
