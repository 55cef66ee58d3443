"""What a step's arguments look like on a mesh, before any of them exists: shapes, dtypes and shardings."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from mobilebert_jax.optim.optimizer import OptimizerConfig, make_optimizer
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.training.program import Program, TrainState
from mobilebert_jax.utils.placement import TRAINED
from mobilebert_jax.utils.trees import map_named, named_leaves
from mobilebert_jax.utils.types import Params


def placed_params(layout: Layout, axes: Any, shapes: Params, network: str = TRAINED) -> Params:
    """`jax.ShapeDtypeStruct`s with shardings at rest, of a network with these logical axes (`models.logical_axes`)."""
    shardings = layout.shardings(axes, shapes, network)
    return jax.tree.map(lambda leaf, sharding: _struct(leaf, sharding), shapes, shardings)


def placed_trained(program: Program, params: Params) -> Params:
    """The trained part of `placed_params`, as `program.cut` shapes it."""
    part = program.part(params)
    return jax.tree.map(_without_layers, part) if program.one_block else part


def placed_slots(layout: Layout, optimizer: OptimizerConfig, trained: Params) -> Any:
    """The optimizer's slots: those in a parameter's shape lie as it does, counters are whole everywhere."""
    shapes = jax.eval_shape(make_optimizer(optimizer).init, trained)
    known = named_leaves(trained)

    def slot(name: str, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        # Slots are named after their parameter, as in 0/mu/encoder/...; a longer name tells more.
        owners = [own for own in known if f"/{name}".endswith(f"/{own}") and known[own].shape == leaf.shape]
        return _struct(leaf, known[max(owners, key=len)].sharding if owners else layout.replicated)

    return map_named(slot, shapes)


def placed_state(layout: Layout, optimizer: OptimizerConfig, trained: Params) -> TrainState:
    """The state of a stage whose trained part is `trained`."""
    scalars = {name: jax.ShapeDtypeStruct((), dtype, sharding=layout.replicated) for name, dtype in _SCALARS.items()}
    return TrainState(trained=trained, opt_state=placed_slots(layout, optimizer, trained), **scalars)


def shardings_of(tree: Any) -> Any:
    """The sharding of every leaf, of arrays or `jax.ShapeDtypeStruct`s."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


_SCALARS = {"step": jnp.int32, "healthy": jnp.bool_, "skipped": jnp.int32}


def _struct(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _without_layers(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = NamedSharding(leaf.sharding.mesh, PartitionSpec(*leaf.sharding.spec[1:]))
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype, sharding=sharding)
