"""From `config.mesh` to a layout of this run's devices, checked against the models and batches of its phases."""

from collections.abc import Iterable, Sequence
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.mesh import MeshShape, make_mesh
from mobilebert_jax.parallel.rules import AXES, Preset, preset
from mobilebert_jax.utils.errors import UserError


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
    """UserError where a phase's batch cannot be split over the mesh."""
    for name in phases if layout else ():
        layout.check_batch(name, config[name].batch_size, config[name].accumulation)


def check_network(layout: Layout | None, which: Preset, cfg: ModelConfig, name: str) -> None:
    """UserError where the mesh's tensor axis does not divide what the preset splits over it."""
    tensor = layout.mesh.shape["tensor"] if layout and which.computed else 1
    for field in ("num_attention_heads", "intermediate_size"):
        if getattr(cfg, field) % tensor:
            raise UserError(f"mesh.tensor={tensor}: does not divide {name}.{field}={getattr(cfg, field)}")
