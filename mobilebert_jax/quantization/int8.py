"""Parameters as 8-bit integers with scales: how they are made, and what is computed from them.

Symmetric: a number is `values * scale`, 0 is 0, and -128 does not occur. `quantize_params` is the one place that says
which parameters become integers and along which axis they share a scale.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from mobilebert_jax.utils.trees import map_named
from mobilebert_jax.utils.types import Array, Params

LARGEST = 127

SHARED_AXIS = {"kernel": -2, "embedding": -1}
"""Parameter to the axis along which its numbers share a scale: an output channel's inputs, a table row's features.

Both hold in a stack of blocks too, whose kernels are [L, in, out]. What is not named here stays float32: biases, norms.
"""


@flax.struct.dataclass
class Int8:
    """An array as integers; a pytree, so that a scan over blocks takes a layer of both parts."""

    values: Array  # int8, the array's shape
    scale: Array  # float32, 1 along the shared axis

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's."""
        return self.values.shape


def quantize(x: Array, axis: int) -> Int8:
    """The nearest integers, halves to even; the numbers along `axis` share a scale, the largest of them becomes 127."""
    x = jnp.asarray(x, jnp.float32)
    largest = jnp.abs(x).max(axis, keepdims=True)
    # Where the scale would be no normal float, which processors may take for 0, all numbers are as good as 0.
    scale = jnp.where(largest > LARGEST * jnp.finfo(jnp.float32).tiny, largest / LARGEST, 1.0)
    values = jnp.clip(jnp.round(x / scale), -LARGEST, LARGEST)
    return Int8(values.astype(jnp.int8), scale)


def dequantize(x: Int8) -> jax.Array:
    """The numbers that the integers stand for, float32."""
    return x.values.astype(jnp.float32) * x.scale


def quantize_params(params: Params) -> Params:
    """The same tree with an `Int8` in the place of every parameter that `SHARED_AXIS` names."""

    def stored(name: str, leaf: Array) -> Any:
        axis = SHARED_AXIS.get(name.rpartition("/")[2])
        return leaf if axis is None else quantize(leaf, axis)

    return jax.jit(lambda params: map_named(stored, params))(params)


def product(x: Array, kernel: Int8) -> jax.Array:
    """x [..., in] times kernel [in, out]: [..., out] float32.

    Every row of `x` becomes integers with a scale of its own; products and sums are exact integers, scales float32.
    """
    rows = quantize(x, -1)
    return integer_product(rows.values, kernel.values) * rows.scale * kernel.scale


def integer_product(x: Array, kernel: Array) -> jax.Array:
    """x [..., in] times kernel [in, out], both int8: exact sums [..., out], as float32."""
    contracted = ((x.ndim - 1,), (0,)), ((), ())
    return jax.lax.dot_general(x, kernel, contracted, preferred_element_type=jnp.int32).astype(jnp.float32)


def lookup(table: Int8, ids: Array) -> jax.Array:
    """Rows of a table [rows, width] for ids [...]: [..., width] float32."""
    return jnp.take(table.values, ids, axis=0).astype(jnp.float32) * jnp.take(table.scale, ids, axis=0)
