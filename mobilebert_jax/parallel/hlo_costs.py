"""What a compiled program costs each device: operations, bytes and collectives, each as often as it runs.

XLA's own cost analysis sees the body of a loop once. Here it counts as often as it runs, also where that is known at
run time only: such loops stay variables of the result, by the name that JAX gave them.
"""

import dataclasses
from collections.abc import Callable, Iterator

from mobilebert_jax.parallel.hlo_bytes import moved_bytes
from mobilebert_jax.parallel.hlo_collectives import Collective, read_collective
from mobilebert_jax.parallel.hlo_flops import Flops, instruction_flops
from mobilebert_jax.parallel.hlo_loops import trip_count
from mobilebert_jax.parallel.hlo_text import Computation, Instruction, Module

Trips = Callable[[str], float]
"""The `op_name` of a loop whose runs the text does not tell -> how often its body runs."""


@dataclasses.dataclass(frozen=True)
class Work:
    """One instruction: what one run costs, and how often it runs: `times`, and the trips of each of `loops`."""

    opcode: str
    flops: Flops
    bytes: float
    times: float
    loops: tuple[str, ...]
    collectives: tuple[Collective, ...] = ()

    def runs(self, trips: Trips) -> float:
        """How often it runs in a step."""
        runs = self.times
        for loop in self.loops:
            runs *= trips(loop)
        return runs


@dataclasses.dataclass(frozen=True)
class Costs:
    """Of one step on one device, in floating-point operations, bytes of main memory, and seconds."""

    matrix_flops: float
    flops: float
    bytes: float
    seconds: float
    collectives: tuple[tuple[Collective, float], ...]  # each with its runs


def work_of(module: Module) -> tuple[Work, ...]:
    """Everything that a program runs."""
    return tuple(_walk(module, module.entry, 1.0, ()))


def total(work: tuple[Work, ...], trips: Trips, flops_per_second: float, bytes_per_second: float) -> Costs:
    """The sums over all runs.

    `seconds`: each instruction takes as long as its products or its bytes need, whichever is more; what is copied in
    the background is only counted where all bytes together need longer than that.
    """
    matrix = every = moved = busy = 0.0
    collectives = []
    for each in work:
        runs = each.runs(trips)
        matrix += runs * each.flops.matrix
        every += runs * each.flops.all
        moved += runs * each.bytes
        if not each.opcode.endswith("-start"):
            busy += runs * max(each.flops.matrix / flops_per_second, each.bytes / bytes_per_second)
        collectives += [(found, runs) for found in each.collectives if runs]
    return Costs(matrix, every, moved, max(busy, moved / bytes_per_second), tuple(collectives))


def _walk(module: Module, name: str, times: float, loops: tuple[str, ...]) -> Iterator[Work]:
    """A computation that is not part of a fusion, and those that it runs."""
    computation = module.computations[name]
    seen: set[tuple[str, str]] = set()
    for each in computation.instructions.values():
        yield Work(
            each.opcode,
            instruction_flops(module, computation, each),
            moved_bytes(module, computation, each),
            times,
            loops,
            tuple(_collectives(module, computation, each, seen)),
        )
        if each.opcode == "while":
            yield from _walk_loop(module, computation, each, times, loops)
        elif each.opcode == "conditional":
            # Which branch runs is known at run time only: at most the one with most products.
            branches = [tuple(_walk(module, called, times, loops)) for called in each.called]
            yield from max(branches, key=lambda branch: sum(part.times * part.flops.matrix for part in branch))
        elif each.opcode in ("call", "async-start"):
            for called in each.called:
                yield from _walk(module, called, times, loops)


def _walk_loop(module: Module, computation: Computation, loop: Instruction, times, loops) -> Iterator[Work]:
    trips = trip_count(module, computation, loop)
    body = loop.attribute("body").lstrip("%")
    if trips is None:
        yield from _walk(module, body, times, (*loops, loop.op_name))
    elif trips:
        yield from _walk(module, body, times * trips, loops)


def _collectives(module: Module, computation: Computation, each: Instruction, seen: set) -> Iterator[Collective]:
    """Those of an instruction, also inside a fusion. One that is spread over several fusions (begun in one, ended in
    another) counts once.
    """
    if each.opcode != "fusion":
        found = read_collective(computation, each)
        if found is not None:
            yield found
        return
    inner = module.computations[each.called[0]]
    for part in inner.instructions.values():
        if part.opcode == "fusion":
            yield from _collectives(module, inner, part, seen)
            continue
        found = read_collective(inner, part)
        key = (part.opcode, part.attribute("channel_id"))
        if found is not None and key not in seen:
            seen.add(key)
            yield _of_fusion(found, each)


def _of_fusion(found: Collective, fusion: Instruction) -> Collective:
    """An all-reduce of which each device keeps a part is written as a fusion of that and a slice."""
    kept = sum(shape.bytes for shape in fusion.shapes)
    scattered = found.kind == "all-reduce" and kept < found.bytes
    return dataclasses.replace(found, kind="reduce-scatter") if scattered else found
