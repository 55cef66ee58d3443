"""Quantization that training can see: numbers become those that 8 bits would leave of them, gradients pass through.

Placed where the files have integers: the input and the kernel of every dense layer, and the rows of tables
(google-research `mobilebert/modeling.py` with `use_quantized_training`, but for the places that are float32 in every
file here: biases, products of activations; and NoNorms, which are folded away). Ranges are those of the batch at hand,
without a running mean: a restart needs nothing but the parameters, and what a static file needs is measured at the end.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mobilebert_jax.quantization.arithmetic import Arithmetic, Product
from mobilebert_jax.quantization.int8 import SHARED_AXIS, dequantize, quantize
from mobilebert_jax.quantization.ranged import range_integers, range_scale
from mobilebert_jax.quantization.recipe import DYNAMIC, STATIC, WEIGHT_ONLY
from mobilebert_jax.utils.types import Array

Fake = Callable[[Array], Array]


def straight_through(x: Array, quantized: Array) -> Array:
    """`quantized`, whose gradient is that of `x`."""
    return x + jax.lax.stop_gradient(quantized - x)


def fake_kernel(kernel: Array) -> Array:
    """A kernel [in, out] as int8 with a scale an output channel."""
    return _symmetric(kernel, SHARED_AXIS["kernel"])


def fake_rows(x: Array) -> Array:
    """Rows [..., width] as int8 with a scale each: of a table, or of activations that come (dynamic)."""
    return _symmetric(x, -1)


def fake_tensor(x: Array) -> Array:
    """All of `x` in 256 steps over the range that it has (static)."""
    x = jnp.asarray(x, jnp.float32)
    return fake_range(x, x.min(), x.max())


def fake_range(x: Array, low: Array, high: Array) -> Array:
    """`x` in 256 steps over a given range; what lies outside becomes its end."""
    scale, zero = range_scale(low, high)
    return straight_through(x, (range_integers(x, scale, zero) - zero) * scale)


ACTIVATIONS: dict[str, Fake] = {DYNAMIC: fake_rows, STATIC: fake_tensor, WEIGHT_ONLY: lambda x: x}
"""What becomes of activations, by the method of quantization."""


def fake_arithmetic(method: str) -> Arithmetic:
    """What a model computes with while it learns to be quantized by that method."""
    activation = ACTIVATIONS[method]

    def product(x: Array, kernel: Array, usual: Product) -> Array:
        return usual(activation(x), fake_kernel(kernel))

    def lookup(table: Array, ids: Array, usual: Fake) -> Array:
        return fake_rows(usual(ids))

    return Arithmetic(product, lookup, fake_rows)


def _symmetric(x: Array, axis: int) -> Array:
    return straight_through(x, dequantize(quantize(x, axis)))
