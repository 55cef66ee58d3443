"""What a finished model computes with, by name."""

from typing import Any

import flax.linen as nn

from mobilebert_jax.quantization.arithmetic import Arithmetic, Computing
from mobilebert_jax.quantization.int8 import dequantize, lookup, product, quantize_params
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Params

PRECISIONS = ("float32", "bfloat16", "int8")

DYNAMIC_INT8 = Arithmetic(product, lookup, dequantize)
"""Dynamic range: integers in kernels and tables, each row of activations quantized when it comes."""


def at_precision(model: nn.Module, params: Params, precision: str = "float32") -> tuple[Any, Params]:
    """What has the model's `apply` and computes with that precision, and its parameters.

    float32, bfloat16: what matrix products compute in. int8: every product of a dense layer is one of integers, kernels
    with a scale an output channel, activations with one a token, tables with one a row; products of two activations, in
    the attention, are float32. Norms, softmax, biases and the residual stream are float32 always.

    Raises:
        UserError: no such precision.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r}: must be one of {', '.join(PRECISIONS)}")
    if precision == "int8":
        return Computing(_in(model, "float32"), DYNAMIC_INT8), quantize_params(params)
    return _in(model, precision), params


def _in(model: nn.Module, dtype: str) -> nn.Module:
    return model.clone(cfg=model.cfg.replace(dtype=dtype))
