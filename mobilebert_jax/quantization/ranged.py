"""Activations as 8-bit integers of a range that is known before they come: full-integer products.

Asymmetric: 256 steps from the lowest to the highest value, both rounded so that 0 is one of the steps. A kernel carries
the range of what it is multiplied with, so that a scan over blocks takes a layer of both.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from mobilebert_jax.quantization.int8 import Int8, integer_product
from mobilebert_jax.utils.trees import path_name
from mobilebert_jax.utils.types import Array

LEAST, MOST, STEPS = -128, 127, 255


@flax.struct.dataclass
class Ranged:
    """A kernel as integers, and the range [..., 1] float32 of the activations that meet it."""

    kernel: Int8
    low: Array
    high: Array


def range_scale(low: Array, high: Array) -> tuple[jax.Array, jax.Array]:
    """(size of a step, the integer that stands for 0), both float32, of a range; it is widened to hold 0."""
    low, high = jnp.minimum(low, 0.0), jnp.maximum(high, 0.0)
    wide = high - low > STEPS * jnp.finfo(jnp.float32).tiny
    scale = jnp.where(wide, (high - low) / STEPS, 1.0)
    return scale, jnp.clip(jnp.round(LEAST - low / scale), LEAST, MOST)


def range_integers(x: Array, scale: Array, zero: Array) -> jax.Array:
    """The nearest of the 256 steps, as float32 from -128 to 127; what lies outside the range becomes its end."""
    return jnp.clip(jnp.round(x / scale) + zero, LEAST, MOST)


def ranged_product(x: Array, kernel: Ranged) -> jax.Array:
    """x [..., in] times kernel [in, out]: [..., out] float32; products and sums are exact integers."""
    scale, zero = range_scale(kernel.low, kernel.high)
    values = range_integers(jnp.asarray(x, jnp.float32), scale, zero).astype(jnp.int8)
    sums = integer_product(values, kernel.kernel.values)
    columns = kernel.kernel.values.astype(jnp.float32).sum(0)
    return (sums - zero * columns) * scale * kernel.kernel.scale


def with_ranges(params: Any, ranges: dict[str, tuple[Array, Array]]) -> Any:
    """Quantized parameters whose kernels know their activations' `ranges`, by the kernels' names."""

    def stored(path: Any, leaf: Any) -> Any:
        name = path_name(path)
        if not isinstance(leaf, Int8) or not name.endswith("kernel"):
            return leaf
        low, high = (jnp.asarray(end, jnp.float32)[..., None] for end in ranges[name])
        return Ranged(leaf, low, high)

    return jax.tree_util.tree_map_with_path(stored, params, is_leaf=lambda leaf: isinstance(leaf, Int8))
