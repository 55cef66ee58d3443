"""What a compiled program moves between devices, read from its text."""

import dataclasses
import math
import re

KINDS = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"


@dataclasses.dataclass(frozen=True)
class Collective:
    """One operation: what it gives, as (dtype, shape) pairs, and the loop body it stands in ("" for none)."""

    kind: str
    arrays: tuple
    body: str


def collectives(text):
    """All of a compiled program, each with the innermost loop body around it."""
    found, computation, called, bodies = [], None, {}, set()
    for line in text.splitlines():
        if start := re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            computation = start[1]
            called[computation] = set()
            continue
        names = re.findall(r"(body|condition|to_apply|calls)=%?([\w.\-]+)", line)
        bodies |= {name for role, name in names if role == "body"}
        if computation:
            called[computation] |= {name for role, name in names if role != "body"}
        if operation := re.search(rf"= (.*?) ({KINDS})(?:-start)?\(", line):
            arrays = [(dtype, _sizes(sizes)) for dtype, sizes in re.findall(r"(\w+)\[([\d,]*)\]", operation[1])]
            found.append((operation[2], tuple(arrays), computation))
    inside = {name: body for body in bodies for name in _reachable(body, called)}
    return [Collective(kind, arrays, inside.get(where, "")) for kind, arrays, where in found]


def gathered_elements(found):
    """Loop body -> elements that one of its iterations gathers."""
    totals = {}
    for each in found:
        if each.kind == "all-gather" and each.body:
            elements = sum(math.prod(sizes) for _, sizes in each.arrays)
            totals[each.body] = totals.get(each.body, 0) + elements
    return totals


def _sizes(text):
    """Sizes above 1: cutting a layer out of a stack leaves an axis of one behind."""
    return tuple(int(size) for size in text.split(",") if size and int(size) > 1)


def _reachable(body, called):
    reached, waiting = set(), [body]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += called.get(name, ())
    return reached
