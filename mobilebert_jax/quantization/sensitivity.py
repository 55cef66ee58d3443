"""A model in which every kernel, every table and what meets them can be quantized or left alone, one by one.

One compiled program answers for all of them: the switches are arrays beside the parameters.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.quantization.arithmetic import Arithmetic, Computing, Product
from mobilebert_jax.quantization.fake import ACTIVATIONS, Fake, fake_kernel, fake_range, fake_rows
from mobilebert_jax.quantization.int8 import SHARED_AXIS
from mobilebert_jax.quantization.recipe import STATIC, Recipe
from mobilebert_jax.utils.trees import is_stacked, map_named, named_leaves
from mobilebert_jax.utils.types import Array, Params

WEIGHTS, INPUTS = PARTS = ("weights", "activations")
"""What of a layer is quantized: its kernel or table, and what it is multiplied with. A table has no activations."""

Switches = Mapping[str, np.ndarray]
"""Parameter to [L or 1, 2] float32: whether its `PARTS` are quantized, 1 or 0, by block."""


@flax.struct.dataclass
class Switched:
    """A kernel or table with its two switches [..., 2], and the range [..., 2] of what meets it."""

    values: Array
    switches: Array
    ends: Array


def switchable(params: Params) -> dict[str, int]:
    """The parameters that int8 changes, by name, with how many blocks they have: 1 outside the stack."""
    named = {name: leaf for name, leaf in named_leaves(params).items() if name.rpartition("/")[2] in SHARED_AXIS}
    return {name: len(leaf) if is_stacked(name) else 1 for name, leaf in named.items()}


def off(params: Params) -> dict[str, np.ndarray]:
    """All switches, off."""
    return {name: np.zeros((count, len(PARTS)), np.float32) for name, count in switchable(params).items()}


def switched(params: Params, switches: Switches, recipe: Recipe) -> Params:
    """The parameters with their switches, for `switching`."""

    def stored(name: str, leaf: Array) -> Any:
        if name not in switches:
            return leaf
        ends = recipe.ranges.get(name, (np.zeros(switches[name].shape[0]),) * 2)
        ends = jnp.stack([jnp.asarray(end, jnp.float32).reshape(-1) for end in ends], axis=-1)
        own = jnp.asarray(switches[name])
        return Switched(leaf, own, ends) if is_stacked(name) else Switched(leaf, own[0], ends[0])

    return map_named(stored, params)


def switching(model: nn.Module, recipe: Recipe) -> Computing:
    """What computes with `switched` parameters, in float32."""

    def product(x: Array, kernel: Switched, usual: Product) -> Array:
        weights, activations = kernel.switches[0], kernel.switches[1]
        low, high = kernel.ends[0], kernel.ends[1]
        fake: Fake = ACTIVATIONS[recipe.method]
        given = fake_range(x, low, high) if recipe.method == STATIC else fake(x)
        met = jnp.where(weights > 0, fake_kernel(kernel.values), kernel.values)
        return usual(jnp.where(activations > 0, given, x), met)

    def table(given: Switched) -> Array:
        return jnp.where(given.switches[0] > 0, fake_rows(given.values), given.values)

    def lookup(given: Switched, ids: Array, usual: Fake) -> Array:
        return jnp.take(table(given), ids, axis=0)

    model = model.clone(cfg=model.cfg.replace(dtype="float32"))
    return Computing(model, Arithmetic(product, lookup, table))
