"""Figures of a compiled step: memory, operations, traffic, the time they take at least."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from mobilebert_jax.parallel.chips import Chip
from mobilebert_jax.parallel.hlo_collectives import MeshAxes
from mobilebert_jax.parallel.hlo_costs import Costs, Trips, Work, total

DAY = 86_400.0


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a device's memory while a step runs in the loop."""

    arguments: int  # parameters, slots, batch
    results: int  # that lie in memory of their own, not in that of a donated argument
    temporaries: int  # activations, gradients
    code: int
    held: int = 0  # what the loop keeps beside: the parameters that the stage began with

    @property
    def needed(self) -> int:
        """What the device must have."""
        return self.arguments + self.results + self.temporaries + self.code + self.held


def memory_of(compiled: Any) -> Memory:
    """What the compiler says of `jax.stages.Compiled`."""
    found = compiled.memory_analysis()
    return Memory(
        arguments=found.argument_size_in_bytes,
        results=found.output_size_in_bytes - found.alias_size_in_bytes,
        temporaries=found.temp_size_in_bytes,
        code=found.generated_code_size_in_bytes,
    )


@dataclasses.dataclass(frozen=True)
class StepCost:
    """One step on one device. Times are lower limits in seconds: nothing runs faster than the chip's published rates,
    and whatever can happen at the same time does.
    """

    flops: float  # of products and of everything else
    matrix_flops: float
    bytes: float
    traffic: dict[str, dict[str, float]]  # axes of the mesh -> {kind of collective: bytes of the arrays}
    compute: float
    memory: float
    ici: float
    dcn: float
    seconds: float

    @property
    def bound(self) -> str:
        """What the time is spent on mostly."""
        times = {"compute": self.compute, "memory": self.memory, "ici": self.ici, "dcn": self.dcn}
        return max(times, key=lambda name: times[name])


def step_cost(work: tuple[Work, ...], trips: Trips, chip: Chip, axes: MeshAxes) -> StepCost:
    """What a program costs with these trips of its open loops."""
    costs = total(work, trips, chip.flops, chip.memory_rate)
    traffic, sent = _traffic(costs, axes)
    across = sent.pop(axes.outer, 0.0) if axes.slices > 1 else 0.0
    ici, dcn = sum(sent.values()) / chip.ici, across / chip.dcn
    return StepCost(
        costs.flops,
        costs.matrix_flops,
        costs.bytes,
        traffic,
        compute=costs.matrix_flops / chip.flops,
        memory=costs.bytes / chip.memory_rate,
        ici=ici,
        dcn=dcn,
        seconds=max(costs.seconds, ici, dcn),
    )


def _traffic(costs: Costs, axes: MeshAxes) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Bytes by axes and kind, and by axes what a device sends."""
    traffic: dict[str, dict[str, float]] = {}
    sent: dict[str, float] = {}
    for found, runs in costs.collectives:
        name, size = axes.name(found.groups)
        kinds = traffic.setdefault(name, {})
        kinds[found.kind] = kinds.get(found.kind, 0.0) + runs * found.bytes
        sent[name] = sent.get(name, 0.0) + runs * found.wire_bytes(size)
    return traffic, sent


def mean_cost(costs: Iterable[tuple[StepCost, int]]) -> StepCost:
    """Of the steps of several stages, each with its number of steps."""
    costs = list(costs)
    steps = sum(count for _, count in costs)

    def mean(name: str) -> float:
        return sum(getattr(cost, name) * count for cost, count in costs) / steps

    traffic: dict[str, dict[str, float]] = {}
    for cost, count in costs:
        for axes, kinds in cost.traffic.items():
            for kind, amount in kinds.items():
                of_axes = traffic.setdefault(axes, {})
                of_axes[kind] = of_axes.get(kind, 0.0) + amount * count / steps
    names = ("flops", "matrix_flops", "bytes", "compute", "memory", "ici", "dcn", "seconds")
    return StepCost(traffic=traffic, **{name: mean(name) for name in names})
