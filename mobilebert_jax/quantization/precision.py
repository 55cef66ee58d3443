"""What a finished model computes with, by name."""

from typing import Any

import flax.linen as nn

from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.quantization.arithmetic import Arithmetic, Computing
from mobilebert_jax.quantization.int8 import dequantize, lookup, product, quantize_params
from mobilebert_jax.quantization.ranged import ranged_product, with_ranges
from mobilebert_jax.quantization.recipe import DYNAMIC, RECIPE, STATIC, WEIGHT_ONLY, Recipe
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import named_leaves
from mobilebert_jax.utils.types import Params

PRECISIONS = ("float32", "bfloat16", "int8")


def _lookup(table: Any, ids: Any, usual: Any) -> Any:
    return lookup(table, ids)


INT8 = {
    DYNAMIC: Arithmetic(lambda x, kernel, usual: product(x, kernel), _lookup, dequantize),
    WEIGHT_ONLY: Arithmetic(lambda x, kernel, usual: usual(x, dequantize(kernel)), _lookup, dequantize),
    STATIC: Arithmetic(lambda x, kernel, usual: ranged_product(x, kernel), _lookup, dequantize),
}
"""What is computed with integers, by the method of quantization."""


def at_precision(
    model: nn.Module, params: Params, precision: str = "float32", recipe: Recipe | None = None
) -> tuple[Any, Params]:
    """What has the model's `apply` and computes with that precision, and its parameters.

    float32, bfloat16: what matrix products compute in. int8: kernels are integers with a scale an output channel,
    tables with one a row; what activations are is for the `recipe` to say, by default a scale a token (dynamic).
    Products of two activations, in the attention, are float32, and so are norms, softmax, biases and the residual
    stream always.

    Raises:
        UserError: no such precision, or a recipe for another model.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r}: must be one of {', '.join(PRECISIONS)}")
    if precision != "int8":
        return _in(model, precision), params
    recipe = recipe or Recipe()
    stored = quantize_params(params)
    if recipe.method == STATIC:
        check_ranges(model, recipe)
        stored = with_ranges(stored, recipe.ranges)
    return Computing(_in(model, "float32"), INT8[recipe.method]), stored


def check_ranges(model: nn.Module, recipe: Recipe) -> None:
    """UserError unless the recipe has the range of every kernel of the model, a number a block."""
    shapes = {name: leaf.shape for name, leaf in named_leaves(abstract_params(model)).items()}
    wanted = {name: shape[:-2] for name, shape in shapes.items() if name.endswith("kernel")}
    given = {name: ends[0].shape for name, ends in recipe.ranges.items()}
    wrong = sorted(name for name in wanted if given.get(name) != wanted[name])
    if wrong:
        raise UserError(f"{RECIPE}: no ranges of {wrong[0]} for this model; `mobilebert quantize` measures them anew")


def _in(model: nn.Module, dtype: str) -> nn.Module:
    return model.clone(cfg=model.cfg.replace(dtype=dtype))
