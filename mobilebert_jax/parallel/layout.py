"""A mesh and the presets of both networks: where parameters, batches and activations lie."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mobilebert_jax.parallel.products import gathered, product, table_product
from mobilebert_jax.parallel.rules import BATCH_AXES, Preset, check_name
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.placement import TRAINED, Axes
from mobilebert_jax.utils.types import Array, Batch

REPLICATE_BELOW = 16_384
"""Elements of one layer's parameter below which it stays whole on every device, unless the config says otherwise."""


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Implements `utils.placement.Placement`.

    Attributes:
        mesh: with the axes of `rules.AXES`.
        trained, teacher: the presets of the network that learns and of the one it learns from.
        replicate_below: parameters of fewer elements (in one layer) are not split.
    """

    mesh: jax.sharding.Mesh
    trained: Preset
    teacher: Preset
    replicate_below: int = REPLICATE_BELOW

    @property
    def batch_shards(self) -> int:
        """Into how many parts a batch is split."""
        return math.prod(self.mesh.shape[axis] for axis in BATCH_AXES)

    @property
    def replicated(self) -> NamedSharding:
        """Whole on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batch(self) -> NamedSharding:
        """Of every array of a batch: examples split over replica, data and fsdp."""
        return NamedSharding(self.mesh, PartitionSpec(BATCH_AXES))

    def check_batch(self, phase: str, batch_size: int, accumulation: int) -> None:
        """UserError where a microbatch cannot be split evenly."""
        if batch_size % (self.batch_shards * accumulation):
            parts = f" in {accumulation} microbatches" if accumulation > 1 else ""
            raise UserError(
                f"{phase}.batch_size={batch_size}: cannot be split{parts} over {self.batch_shards} devices along "
                f"{', '.join(BATCH_AXES)} of the mesh; a multiple of {self.batch_shards * accumulation} can"
            )

    def shardings(self, axes: Any, shapes: Any, network: str = TRAINED) -> Any:
        """Shardings at rest of a parameter tree, from its logical axes (tuples as leaves) and its shapes."""
        stored = self._preset(network).stored
        return jax.tree.map(
            lambda leaf, names: NamedSharding(self.mesh, self._at_rest(stored, names, leaf.shape)), shapes, axes
        )

    def rows(self, batch_size: int) -> slice:
        """The examples of a batch that this process' devices need."""
        places = self.batch.addressable_devices_indices_map((batch_size,)).values()
        parts = [index[0].indices(batch_size) for index in places]
        return slice(min(part[0] for part in parts), max(part[1] for part in parts))

    def put_batch(self, batch: Batch, batch_size: int) -> Batch:
        """A global batch of which this process has made `rows(batch_size)` or, just as well, all."""
        first = 0 if len(next(iter(batch.values()))) == batch_size else self.rows(batch_size).start

        def put(values: Array) -> jax.Array:
            def part(index: tuple[slice, ...]) -> np.ndarray:
                start, stop, _ = index[0].indices(batch_size)
                return values[start - first : stop - first]

            return jax.make_array_from_callback((batch_size, *values.shape[1:]), self.batch, part)

        return {name: put(np.asarray(values)) for name, values in batch.items()}

    def put_whole(self, tree: Any) -> Any:
        """Small host values, equal in all processes, whole on every device."""

        def put(value: Any) -> jax.Array:
            value = np.asarray(value)
            return jax.make_array_from_callback(value.shape, self.replicated, lambda index: value[index])

        return jax.tree.map(put, tree)

    def put_flag(self, flag: bool) -> jax.Array:
        """Bool [devices]: what each device's process says."""
        each = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        return jax.make_array_from_callback((self.mesh.size,), each, lambda index: np.full(1, flag))

    def activation(self, x: Array, axes: Axes, network: str) -> Array:
        """See `Placement`. The batch is split, the rest as `computed` says."""
        table = {"batch": BATCH_AXES, **self._preset(network).computed}
        return jax.lax.with_sharding_constraint(x, self._sharding(table, axes, x.shape))

    def parameter(self, param: Array, axes: Axes, lookup: bool, network: str) -> Array:
        """See `Placement`."""
        preset = self._preset(network)
        computed = self._sharding(preset.computed, (None, *axes[1:]) if lookup else axes, param.shape)
        # What a lookup sends back is added up whole: scattering it into parts would move all activations instead.
        back = computed if lookup else self._rest_sharding(preset, axes, param.shape)
        return gathered(param, computed, back)

    def product(self, rows: Array, kernel: Array, axes: Axes, network: str) -> Array:
        """See `Placement`."""
        preset = self._preset(network)
        computed = self._sharding(preset.computed, axes, kernel.shape)
        return product(rows, kernel, computed, self._rest_sharding(preset, axes, kernel.shape))

    def table_product(self, x: Array, tables: Sequence[Array], axes: Sequence[Axes], network: str) -> Array:
        """See `Placement`."""
        preset = self._preset(network)
        computed = tuple(self._sharding(preset.computed, names, t.shape) for t, names in zip(tables, axes, strict=True))
        stored = tuple(self._rest_sharding(preset, names, t.shape) for t, names in zip(tables, axes, strict=True))
        return table_product(x, tuple(tables), computed, stored)

    def per_device(
        self, function: Callable[..., Array], arrays: Sequence[Array], axes: Sequence[Axes], network: str
    ) -> Array:
        """See `Placement`. What is split is as in `activation`."""
        table = {"batch": BATCH_AXES, **self._preset(network).computed}
        specs = tuple(self._sharding(table, names, x.shape).spec for x, names in zip(arrays, axes, strict=True))
        # Kernels say nothing of the axes over which their results vary.
        split = jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=specs[0], check_vma=False)
        return split(*arrays)

    @property
    def device(self) -> jax.Device:
        """See `Placement`."""
        return self.mesh.devices.flat[0]

    def _preset(self, network: str) -> Preset:
        return self.trained if network == TRAINED else self.teacher

    def _rest_sharding(self, preset: Preset, axes: Axes, shape: Sequence[int]) -> NamedSharding:
        return NamedSharding(self.mesh, self._at_rest(preset.stored, axes, shape))

    def _at_rest(self, stored: Mapping[str, str], axes: Axes, shape: Sequence[int]) -> PartitionSpec:
        """Of a parameter with or without its layer axis, which alike decide nothing."""
        if axes and axes[0] == "layers":
            return PartitionSpec(None, *self._at_rest(stored, axes[1:], shape[1:]))
        if math.prod(shape) < self.replicate_below:
            stored = {}
        return self._sharding(stored, axes, shape).spec

    def _sharding(self, table: Mapping[str, Any], axes: Axes, shape: Sequence[int]) -> NamedSharding:
        """The first rule that fits gets its mesh axis; a size that it does not divide stays whole."""
        if len(axes) != len(shape):
            raise ValueError(f"{len(axes)} axis names {tuple(axes)} for an array of shape {tuple(shape)}")
        for name in filter(None, axes):
            check_name(name)
        chosen: list[Any] = [None] * len(axes)
        used: set[str] = set()
        for name, target in table.items():
            mesh_axes = (target,) if isinstance(target, str) else target
            parts = math.prod(self.mesh.shape[axis] for axis in mesh_axes)
            for index, own in enumerate(axes):
                if own == name and shape[index] % parts == 0 and not used & {*mesh_axes}:
                    chosen[index] = target
                    used |= {*mesh_axes}
        return NamedSharding(self.mesh, PartitionSpec(*chosen))
