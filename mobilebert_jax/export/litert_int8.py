"""A .tflite with 8-bit weights, by the recipe's method: the words' table here, kernels by LiteRT's own quantizer."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from mobilebert_jax.export.inference_form import InferenceForm
from mobilebert_jax.export.tflite_file import with_version
from mobilebert_jax.quantization.int8 import quantize
from mobilebert_jax.quantization.recipe import STATIC, WEIGHT_ONLY, Recipe, Samples
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import INPUTS

SIGNATURE = "serving_default"
SCALES_A_CHANNEL = 12
"""The version of a product whose kernel has a scale a channel. The quantizer does not write it down, and a runtime of
before would take the first scale for all, without a word."""


def with_int8_tables(form: InferenceForm) -> InferenceForm:
    """The same with the words' table as 8-bit integers and a scale a row, which the quantizer leaves alone."""
    return form.replace(embeddings=form.embeddings.replace(words=quantize(form.embeddings.words, -1)))


def quantized_bytes(model: bytes, length: int, recipe: Recipe) -> bytes:
    """A .tflite [1, length] whose kernels are 8-bit integers with a scale an output channel.

    Raises:
        UserError: the extra is not installed.
    """
    try:
        from ai_edge_quantizer import quantizer
        from ai_edge_quantizer import recipe as recipes
    except ImportError as error:
        raise UserError("LiteRT's quantizer is missing: pip install 'mobilebert-jax[litert]'") from error
    with _quiet():
        if recipe.method == STATIC:
            wanted = _static_products()
            measured = _calibrated(model, wanted, padded(recipe.samples, length))
        else:
            named = {WEIGHT_ONLY: recipes.weight_only_wi8_afp32}.get(recipe.method, recipes.dynamic_wi8_afp32)
            wanted, measured = named(), None
        made = quantizer.Quantizer(bytearray(model), wanted).quantize(measured).quantized_model
    return with_version(bytes(made), "FULLY_CONNECTED", SCALES_A_CHANNEL)


def padded(samples: Samples, length: int) -> dict[str, np.ndarray]:
    """Samples as rows of exactly `length` tokens: cut, or padded with zeros."""
    given = samples[INPUTS[0]].shape[1]
    width = ((0, 0), (0, max(0, length - given)))
    return {name: np.pad(samples[name][:, :length], width).astype(np.int32) for name in INPUTS}


def _static_products() -> Any:
    """Integers in products with kernels; not in sums along the residual stream, whose channels differ widely."""
    from ai_edge_quantizer import qtyping, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.add_static_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
        activation_num_bits=8,
        weight_num_bits=8,
    )
    return manager.get_quantization_recipe()


def _calibrated(model: bytes, wanted: Any, samples: Samples) -> Any:
    """The lowest and highest values of every tensor; the tool's default, a moving mean, would clip what is rare."""
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(wanted)
    measuring = calibrator.Calibrator(bytes(model), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    rows = [{name: samples[name][row : row + 1] for name in INPUTS} for row in range(len(samples[INPUTS[0]]))]
    measuring.calibrate({SIGNATURE: rows}, manager)
    return measuring.get_model_qsvs()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tool prints bars and sizes of its own."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
