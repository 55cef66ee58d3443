"""Parameter trees by name: paths are the API that masks, maps and reports key on."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

# The name under which a block stack lives; every leaf below it is `[L, ...]`, layers first.
STACK = "layers"


def path_name(path: tuple[Any, ...]) -> str:
    """A JAX key path as 'encoder/layers/attention/query/kernel'."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def map_named(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`jax.tree.map` whose function takes the leaf's name first: `function(name, leaf, *leaves_of_rest)`."""
    return jax.tree_util.tree_map_with_path(lambda path, *leaves: function(path_name(path), *leaves), tree, *rest)


def named_leaves(tree: Any) -> dict[str, Any]:
    """`{name: leaf}` in the tree's own order."""
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def is_stacked(name: str) -> bool:
    """True for a leaf of a block stack, whose first axis is the layer."""
    return STACK in name.split("/")


def count_parameters(tree: Any) -> int:
    """Number of scalars in all leaves (arrays or `jax.ShapeDtypeStruct`)."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def expand_layers(values: Any, leaf: Any) -> Any:
    """Reshapes per-layer `values [L]` to broadcast against a stacked `leaf [L, ...]`."""
    return values.reshape((-1,) + (1,) * (leaf.ndim - 1))
