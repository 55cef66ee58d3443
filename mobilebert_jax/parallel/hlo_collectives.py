"""Collectives of a compiled program: what kind, how many bytes, and along which axes of the mesh."""

import dataclasses
import functools
import itertools
import math
import re

import numpy as np

from mobilebert_jax.parallel.hlo_text import Computation, Instruction

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")

Groups = tuple[tuple[int, ...], ...]
"""Places of devices in the mesh, those that talk to each other together."""

SLICES = ((-1,),)
"""The groups of what goes over the data centre's network: devices of different slices."""


@dataclasses.dataclass(frozen=True)
class Collective:
    """One device's part of a collective. `bytes`: of the whole array that every device ends or begins with."""

    kind: str
    dtype: str
    bytes: int
    groups: Groups  # () for a permutation, whose pairs are no groups
    op_name: str = ""

    def wire_bytes(self, size: int) -> float:
        """What a device must send in a group of `size`, at best (a ring)."""
        if self.kind in ("collective-permute", "collective-broadcast"):
            return float(self.bytes)
        passes = 2 if self.kind == "all-reduce" else 1
        return passes * self.bytes * (size - 1) / size


def read_collective(computation: Computation, each: Instruction) -> Collective | None:
    """What an instruction sends; None where it sends nothing."""
    if each.opcode == "send":
        return _between_slices(each)
    kind = each.opcode.removesuffix("-start")
    if kind not in KINDS:
        return None
    groups = () if kind == "collective-permute" else parse_groups(each.attributes)
    arrays = [shape for name in each.operands for shape in computation.instructions[name].shapes]
    count = sum(array.bytes for array in arrays)
    if kind == "all-gather":
        count *= len(groups[0]) if groups else 1
    largest = max(arrays, key=lambda array: array.bytes)
    return Collective(kind, largest.dtype, count, groups, each.op_name)


def _between_slices(each: Instruction) -> Collective | None:
    """A TPU's compiler writes what slices say to each other as a transfer by the host."""
    kind = re.search(r'_xla_megascale_transfer_type="(\w+)"', each.attributes)
    if kind is None:
        return None
    name = kind.group(1).lower().replace("_", "-")
    return Collective(name, each.shapes[0].dtype, each.shapes[0].bytes, SLICES, each.op_name)


_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\]([^{]*)\{([^}]*)\}")
_TILE = re.compile(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_IOTA = re.compile(r"replica_groups=(\[[^{]*?)(?:, |$)")
_LISTS = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")


@functools.cache
def _parse(kind: str, *parts: str) -> Groups:
    if kind == "mesh":
        return _mesh_groups(*parts)
    if kind == "iota":
        return tuple(map(tuple, _iota(parts[0]).tolist()))
    return tuple(tuple(int(place) for place in group.split(",")) for group in re.findall(r"\{([\d,]+)\}", parts[0]))


def parse_groups(attributes: str) -> Groups:
    """`replica_groups=` in each of its forms: lists, `[2,4]<=[8]T(1,0)`, `mesh['a'=2,'b'=4] {'b'}`; () for all."""
    for kind, pattern in (("mesh", _MESH), ("iota", _IOTA), ("lists", _LISTS)):
        if found := pattern.search(attributes):
            return _parse(kind, *found.groups())
    return ()


def _iota(text: str) -> np.ndarray:
    """`[2,4]<=[4,2]T(1,0)`: 0, 1, ... shaped as behind the arrow, transposed, then shaped as before it."""
    shape, source, order = _TILE.fullmatch(text).groups()
    sizes = _numbers(source)
    places = np.arange(math.prod(sizes)).reshape(sizes)
    return (places.transpose(_numbers(order)) if order else places).reshape(_numbers(shape))


def _mesh_groups(axes: str, order: str, chosen: str) -> Groups:
    """Axes are 'name'=size; what is chosen are names, or parts of one: 'name':(before)size."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    parts = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen)
    split: list[tuple[str, int, bool]] = []
    for name, size in sizes.items():
        taken = sorted((int(before or 1), int(part or size)) for own, before, part in parts if own == name)
        done = 1
        for before, part in taken:
            split += [(name, before // done, False)] if before > done else []
            split.append((name, part, True))
            done = before * part
        split += [(name, size // done, False)] if size > done else []
    total = math.prod(sizes.values())
    places = _device_order(order, total).reshape([part[1] for part in split])
    kept = [index for index, part in enumerate(split) if not part[2]]
    gone = [index for index, part in enumerate(split) if part[2]]
    size = math.prod(split[index][1] for index in gone)
    return tuple(map(tuple, places.transpose([*kept, *gone]).reshape(-1, size).tolist()))


def _device_order(text: str, total: int) -> np.ndarray:
    """A mesh's own order of devices, `device_ids=([4,2]T(1,0))` (0, 1, ... shaped and transposed) or a list."""
    if found := re.search(r"\[([\d,]+)\]T\(([\d,]+)\)", text):
        sizes, order = map(_numbers, found.groups())
        return np.arange(total).reshape(sizes).transpose(order)
    listed = re.search(r"device_ids=\(([\d, ]+)\)", text)
    return np.array(_numbers(listed.group(1))) if listed else np.arange(total)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


class MeshAxes:
    """Names groups of devices by the axes of a mesh along which they differ."""

    def __init__(self, shape: dict[str, int], slices: int = 1):
        """`shape`: axis -> size, in the mesh's order. With several slices, the first axis is the one between them;
        a program then numbers the devices of its own slice.
        """
        self.slices, axes = slices, dict(shape)
        if slices > 1:
            self.outer = next(iter(axes))
            axes[self.outer] //= slices
        self._names: dict[frozenset, str] = {}
        self._sizes: dict[str, int] = {}
        used = [name for name, size in axes.items() if size > 1]
        places = np.arange(math.prod(axes.values())).reshape(list(axes.values()))
        order = list(axes)
        for count in range(1, len(used) + 1):
            for chosen in itertools.combinations(used, count):
                kept = [index for index, name in enumerate(order) if name not in chosen]
                gone = [order.index(name) for name in chosen]
                size = math.prod(axes[name] for name in chosen)
                groups = places.transpose([*kept, *gone]).reshape(-1, size)
                name = "+".join(chosen)
                self._names[frozenset(map(frozenset, groups.tolist()))] = name
                self._sizes[name] = size
        self._devices = places.size

    def name(self, groups: Groups) -> tuple[str, int]:
        """(axes joined by +, devices in a group); `other` for groups that follow no axes."""
        if groups == SLICES:
            return self.outer, self.slices
        if not groups:
            return "other", self._devices
        name = self._names.get(frozenset(map(frozenset, groups)), "other")
        return name, len(groups[0])
