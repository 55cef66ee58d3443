"""From `config.mesh` to a layout of this run's devices, checked against the models and batches of its phases."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.initialise import abstract_params, logical_axes
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.mesh import MeshShape, make_mesh
from mobilebert_jax.parallel.rules import AXES, Preset, preset
from mobilebert_jax.recipes.settings import MODELS_OF, model_config
from mobilebert_jax.training.feed import Feed, feed
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.placement import TRAINED
from mobilebert_jax.utils.trees import named_leaves
from mobilebert_jax.utils.types import Batch, Params


def presets(config: ConfigDict) -> tuple[Preset, Preset]:
    """Of the network that learns and of its teacher; UserError for an unknown one."""
    own, teacher = config.mesh.preset, config.mesh.teacher_preset
    return preset(own), preset(teacher, "mesh.teacher_preset") if teacher else preset(own)


def make_layout(config: ConfigDict, devices: Sequence[Any] | None = None) -> Layout | None:
    """The layout over all devices (or these); None on a single one, whose programs need none.

    Raises:
        UserError: an unknown preset, or axes that do not fit the devices or the preset.
    """
    trained, teacher = presets(config)
    sizes = {axis: config.mesh[axis] for axis in AXES}
    if config.mesh.replicate_below < 0:
        raise UserError(f"mesh.replicate_below={config.mesh.replicate_below}: must not be negative")
    mesh = make_mesh(MeshShape(**sizes), devices)
    if mesh.size == 1:
        return None
    if mesh.shape["tensor"] > 1 and not {*trained.computed.values(), *teacher.computed.values()}:
        raise UserError(
            f"mesh.tensor={mesh.shape['tensor']}: mesh.preset={config.mesh.preset} leaves it idle; "
            "take tensor or fsdp_tensor, or mesh.tensor=1"
        )
    return Layout(mesh, trained, teacher, config.mesh.replicate_below)


def check_layout(config: ConfigDict, layout: Layout | None, phases: Iterable[str]) -> None:
    """UserError where a phase's batch, or a model that the config makes for it, cannot be split over the mesh."""
    for name in phases if layout else ():
        layout.check_batch(name, config[name].batch_size, config[name].accumulation)
        for which in MODELS_OF[name]:
            if which == "student" or not config.teacher.path:
                check_network(layout, model_config(config, which, vocab_size=1), f"model.{which}")


def check_network(layout: Layout | None, cfg: ModelConfig, name: str) -> None:
    """UserError where the mesh's tensor axis does not divide what a preset splits over it."""
    used = layout and {*layout.trained.computed.values(), *layout.teacher.computed.values()}
    tensor = layout.mesh.shape["tensor"] if used else 1
    for field in ("num_attention_heads", "intermediate_size"):
        if getattr(cfg, field) % tensor:
            raise UserError(f"mesh.tensor={tensor}: does not divide {name}.{field}={getattr(cfg, field)}")


def layout_fields(layout: Layout | None, model: nn.Module) -> dict[str, Any]:
    """The fields of `Phase` that say where the phase's arrays lie; {} on one device."""
    return {"layout": layout, "axes": logical_axes(model)} if layout else {}


def made_in_place(
    layout: Layout | None, model: nn.Module, make: Callable[..., Params], *arguments: Params, network: str = TRAINED
) -> Params:
    """`make(*arguments)`, parameters of `model`; under a layout they are made in their places, by one program."""
    if layout is None:
        return make(*arguments)
    shapes = jax.eval_shape(make, *arguments)
    return jax.jit(make, out_shardings=layout.shardings(logical_axes(model), shapes, network))(*arguments)


def reader(layout: Layout | None, network: str = TRAINED) -> Callable[[nn.Module, str, np.ndarray], Any] | None:
    """What `from_pretrained` puts parameters with: every device gets its part of what the host has read."""
    if layout is None:
        return None

    @functools.cache
    def shardings(model: nn.Module) -> dict[str, Any]:
        return named_leaves(layout.shardings(logical_axes(model), abstract_params(model), network))

    def put(model: nn.Module, name: str, values: np.ndarray) -> jax.Array:
        return jax.make_array_from_callback(values.shape, shardings(model)[name], lambda index: values[index])

    return put


def example_feed(layout: Layout | None, batch_size: int, make_batch: Callable[[int, slice | None], Batch]) -> Feed:
    """The batches of a phase, on the devices; `make_batch` makes the rows given of a step's batch, or all of it."""
    if layout is None:
        return feed(lambda step: make_batch(step, None))
    rows = layout.rows(batch_size)
    return feed(lambda step: make_batch(step, rows), lambda batch: layout.put_batch(batch, batch_size), batch_size)
