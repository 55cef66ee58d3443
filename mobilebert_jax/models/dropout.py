"""Dropout whose random bits cost little: a row's seed by JAX's generator, its elements' bits by a hash of their place.

JAX's own generator spends some fifty operations on each word. At the paper's sizes that was a twelfth of a fine-tuning
step on a CPU, most of it for attention's maps. Nothing here is stored for the way back: the bits are made again.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mobilebert_jax.utils.types import Array

_GOLDEN, _FIRST, _SECOND = 0x9E3779B1, 0x7FEB352D, 0x846CA68B
"""An odd number near 2^32 divided by the golden ratio; the multipliers of the hash `lowbias32` (nullprogram.com)."""


class Dropout(nn.Module):
    """Zeroes elements with probability `rate` and multiplies the others by `1 / (1 - rate)`.

    `rows`: how many axes have seeds of their own.
    """

    rate: float
    rows: int = 1

    def __call__(self, x: Array, deterministic: bool) -> Array:
        """[*rows, ...] -> the same shape and dtype; `x` itself when deterministic or the rate is 0."""
        if deterministic or self.rate == 0:
            return x
        return drop(x, self.seeds(x.shape[: self.rows]), self.rate)

    def seeds(self, shape: tuple[int, ...]) -> Array:
        """Two random words for each index of `shape`, uint32 [*shape, 2]."""
        return jax.random.bits(self.make_rng("dropout"), (*shape, 2), jnp.uint32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def drop(x: Array, seeds: Array, rate: float) -> Array:
    """`x` [*rows, ...] with what `kept` says, by seeds [*rows, 2]."""
    return jnp.where(kept(seeds, x.shape, rate), x * (1.0 / (1.0 - rate)), jnp.zeros((), x.dtype))


def _drop_forward(x, seeds, rate):
    return drop(x, seeds, rate), seeds


def _drop_backward(rate, seeds, cotangent):
    return drop(cotangent, seeds, rate), None


drop.defvjp(_drop_forward, _drop_backward)


def kept(seeds: Array, shape: tuple[int, ...], rate: float) -> Array:
    """True with probability `1 - rate`, bool `shape` [*rows, ...], by seeds [*rows, 2]: the same wherever made."""
    rows = seeds.ndim - 1
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(rows, len(shape)):
        stride = math.prod(shape[axis + 1 :]) % 2**32
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
    first, second = (jnp.expand_dims(seeds[..., word], range(rows, len(shape))) for word in (0, 1))
    return _hash(place, first, second) >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def _hash(place: Array, first: Array, second: Array) -> Array:
    word = place * jnp.uint32(_GOLDEN) + first
    word = (word ^ (word >> 16)) * jnp.uint32(_FIRST) ^ second
    word = (word ^ (word >> 15)) * jnp.uint32(_SECOND)
    return word ^ (word >> 16)
