"""Per-layer slices: a stacked leaf `[L, ...]` is L parameters, so norms and gates are taken slice by slice."""

from typing import Any

import jax
import jax.numpy as jnp

from mobilebert_jax.utils.trees import expand_layers, is_stacked, map_named
from mobilebert_jax.utils.types import Array


def spread(values: Array, leaf: Array) -> jax.Array:
    """A scalar, or per-layer values [L], shaped to broadcast against `leaf`."""
    values = jnp.asarray(values)
    return values if values.ndim == 0 else expand_layers(values, leaf)


def slice_squares(name: str, leaf: Array) -> jax.Array:
    """Sum of squares, float32: [L] for a leaf of a block stack, a scalar for any other."""
    axes = tuple(range(1 if is_stacked(name) else 0, leaf.ndim))
    return jnp.sum(jnp.square(leaf.astype(jnp.float32)), axis=axes)


def zero_frozen(tree: Any, multipliers: Any) -> Any:
    """`tree` with 0 where the multiplier is 0, chosen with `where`, so that a NaN there vanishes too.

    `multipliers`: a tree of scalars or [L], or None when everything is trained.
    """
    if multipliers is None:
        return tree
    return jax.tree.map(lambda leaf, m: jnp.where(spread(m, leaf) > 0, leaf, jnp.zeros_like(leaf)), tree, multipliers)


def global_norm(tree: Any, multipliers: Any = None, *, include_frozen: bool = False) -> jax.Array:
    """Euclidean norm over all leaves, a float32 scalar; which slices count, `counted_squares` says."""
    squares = counted_squares(tree, multipliers, include_frozen=include_frozen)
    return jnp.sqrt(sum(jnp.sum(values) for values in jax.tree.leaves(squares)))


def block_norms(tree: Any, multipliers: Any = None, *, include_frozen: bool = False) -> jax.Array:
    """The norm of each block of a stack, [L] float32, over all leaves; the tree holds nothing but stacked leaves."""
    squares = counted_squares(tree, multipliers, include_frozen=include_frozen)
    return jnp.sqrt(sum(jax.tree.leaves(squares)))


def counted_squares(tree: Any, multipliers: Any = None, *, include_frozen: bool = False) -> Any:
    """`slice_squares` of every leaf, 0 for slices that do not count.

    With `multipliers` (scalars or [L]) only slices with a multiplier above 0 count. `include_frozen` counts the frozen
    ones too, as TF1 does, but only those that are finite: nothing of a frozen slice may spoil the trained ones.
    """
    squares = map_named(slice_squares, tree)
    if multipliers is not None:

        def counted(multiplier: Array, values: Array) -> jax.Array:
            trained = jnp.asarray(multiplier) > 0
            return jnp.where(trained | (include_frozen & jnp.isfinite(values)), values, 0.0)

        squares = jax.tree.map(counted, multipliers, squares)
    return squares
