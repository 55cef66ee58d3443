"""Device meshes with the axes replica, data, fsdp and tensor, also over several slices."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils

from mobilebert_jax.parallel.rules import AXES
from mobilebert_jax.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class MeshShape:
    """How many devices along each axis; `data` -1 takes all that the others leave.

    replica: copies that talk over the data centre's network, one a slice. data: copies within a slice. fsdp: devices
    that share one copy of the parameters at rest. tensor: devices that share every layer's work.
    """

    replica: int = 1
    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def resolved(self, devices: int) -> "MeshShape":
        """With `data` filled in; UserError unless the product is the number of devices."""
        for name in AXES:
            size = getattr(self, name)
            if size < 1 and not (name == "data" and size == -1):
                raise UserError(f"mesh.{name}={size}: must be at least 1" + (", or -1" if name == "data" else ""))
        named = [name for name in AXES if getattr(self, name) != -1]
        product = math.prod(getattr(self, name) for name in named)
        said = f"mesh: {' x '.join(f'{name} {getattr(self, name)}' for name in named)} = {product}"
        if self.data == -1:
            if devices % product:
                raise UserError(f"{said} does not divide the number of devices, {devices}")
            return dataclasses.replace(self, data=devices // product)
        if product != devices:
            raise UserError(f"{said} is not the number of devices, {devices}; mesh.data=-1 takes what is left")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """In the order of `AXES`."""
        return tuple(getattr(self, name) for name in AXES)


def make_mesh(shape: MeshShape, devices: Sequence[Any] | None = None) -> jax.sharding.Mesh:
    """The mesh of all devices (or of these, such as a topology's), neighbours along `tensor` and `fsdp`.

    Raises:
        UserError: the axes do not multiply to the devices, or `replica` is not the number of slices.
    """
    devices = jax.devices() if devices is None else list(devices)
    shape = shape.resolved(len(devices))
    slices = {getattr(device, "slice_index", 0) for device in devices}
    if len(slices) > 1 and devices[0].platform == "tpu":
        if shape.replica != len(slices):
            raise UserError(f"mesh.replica={shape.replica}: the devices lie in {len(slices)} slices, one replica each")
        inside, across = (1, *shape.sizes[1:]), (shape.replica, 1, 1, 1)
        grid = mesh_utils.create_hybrid_device_mesh(inside, across, devices, allow_split_physical_axes=True)
    else:
        grid = mesh_utils.create_device_mesh(shape.sizes, devices, allow_split_physical_axes=True)
    return jax.sharding.Mesh(np.asarray(grid), AXES)
