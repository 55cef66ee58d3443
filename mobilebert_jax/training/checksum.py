"""A number that tells whether a tree of arrays is, bit for bit, what was saved; the stores' own formats keep none."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.utils.types import Array

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def checksum(tree: Any) -> Array:
    """uint32 scalar: the sum of all elements' bits, modulo 2^32; the order of leaves and elements does not matter.

    Elements have at most 32 bits. Any one changed bit changes it; so does any other damage but for one case in 2^32.
    """
    total = jnp.uint32(0)
    for leaf in jax.tree.leaves(tree):
        leaf = leaf.astype(jnp.uint8) if leaf.dtype == jnp.bool_ else leaf
        bits = jax.lax.bitcast_convert_type(leaf, _UNSIGNED[leaf.dtype.itemsize])
        total += jnp.sum(bits.astype(jnp.uint32), dtype=jnp.uint32)
    return total


def host_checksum(arrays: dict[str, np.ndarray]) -> int:
    """The same number of arrays in host memory."""
    total = 0
    for array in arrays.values():
        bits = np.ascontiguousarray(array).view(_UNSIGNED[array.dtype.itemsize])
        total += int(bits.sum(dtype=np.uint64))
    return total % 2**32
