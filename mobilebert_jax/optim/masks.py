"""Which parameter learns how fast, and which decays: by name, never by the number of dimensions."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mobilebert_jax.utils.trees import is_stacked, map_named
from mobilebert_jax.utils.types import Array, Params

Rule = tuple[str, float | Array]
"""A regular expression over whole parameter names, and the learning-rate multiplier: a scalar, or [L] per layer."""


def multiplier_tree(params: Params, rules: Sequence[Rule]) -> Any:
    """Learning-rate multipliers in the shape of `params` (arrays or `jax.ShapeDtypeStruct`).

    Each leaf is a float32 scalar or, for a leaf of a block stack, possibly [L]; 0 means frozen. A rule's pattern must
    match the whole name (`re.fullmatch`), as in `[("encoder/layers/.*", per_layer), ("(?!encoder/layers/).*", 0.0)]`.
    Values may be traced. Raises ValueError unless exactly one rule matches each parameter, and for a per-layer value
    on a leaf that is not stacked or has another number of layers.
    """

    def multiplier(name: str, leaf: Any) -> jax.Array:
        matching = [(pattern, value) for pattern, value in rules if re.fullmatch(pattern, name)]
        if len(matching) != 1:
            patterns = [pattern for pattern, _ in (matching or rules)]
            found = "several rules match" if matching else "no rule matches"
            raise ValueError(f"parameter {name!r}: {found}, exactly one must; rules: {patterns}")
        pattern, value = matching[0]
        return _checked(name, leaf, pattern, jnp.asarray(value, jnp.float32))

    return map_named(multiplier, params)


def decays(name: str) -> bool:
    """Whether LAMB and AdamW decay this parameter, and LAMB scales it by its trust ratio.

    False for norm parameters (a component that ends in "norm") and biases (a last component that ends in "bias"), as
    the original's exclusions LayerNorm, FakeLayerNorm and bias. Raises ValueError for a boxed parameter (Flax's
    partitioning metadata appends "value" to its name), whose biases would otherwise decay unnoticed.
    """
    components = name.split("/")
    if components[-1] == "value":
        raise ValueError(f"parameter {name!r} is boxed: unbox the tree with flax.linen.meta.unbox first")
    return not components[-1].endswith("bias") and not any(part.endswith("norm") for part in components)


def decay_mask(params: Params) -> Any:
    """`decays` for every leaf, a tree of bools: the mask that `optax.masked` takes."""
    return map_named(lambda name, _: decays(name), params)


def _checked(name: str, leaf: Any, pattern: str, value: jax.Array) -> jax.Array:
    """The rule's value if it fits the leaf: a scalar, or one per layer of a stacked leaf."""
    if value.ndim == 0 or (is_stacked(name) and value.shape == leaf.shape[:1]):
        return value
    fits = f"a scalar or [{leaf.shape[0]}]" if is_stacked(name) else "a scalar: the parameter has no layer axis"
    raise ValueError(f"parameter {name!r}: rule {pattern!r} gives {list(value.shape)} values, right is {fits}")
