"""How often a loop of a compiled program runs, where the program's text says it."""

import re

from mobilebert_jax.parallel.hlo_text import Computation, Instruction, Module

_SAME = frozenset("copy bitcast copy-start copy-done convert reshape".split())


def trip_count(module: Module, computation: Computation, loop: Instruction) -> int | None:
    """Runs of the body of a `while` in `computation`; None where that is known at run time only.

    From what the compiler noted, else from a condition `counter < bound` whose counter starts at a constant, grows by
    a constant, and whose bound is one: what `scan` and `fori_loop` become.
    """
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
    if noted:
        return int(noted.group(1))
    condition = module.computations[_named(loop, "condition")]
    body = module.computations[_named(loop, "body")]
    compared = _comparison(module, condition)
    if compared is None:
        return None
    counter, bound = compared
    first = _value(computation, loop, counter)
    last = int(bound) if isinstance(bound, str) else _value(computation, loop, bound)
    step = _step(module, body, counter)
    if first is None or last is None or not step:
        return None
    return max(-(-(last - first) // step), 0)


def _named(loop: Instruction, attribute: str) -> str:
    return loop.attribute(attribute).lstrip("%")


def _comparison(module: Module, condition: Computation) -> tuple[int, int | str] | None:
    """(place of the counter in the loop's tuple, place of the bound or the constant's text)."""
    root, sides = condition.root, None
    if root.opcode == "fusion":
        inner = module.computations[root.called[0]]
        if inner.root.opcode == "compare":
            sides = [_through_parameter(inner, name, root) for name in inner.root.operands]
        root = inner.root
    elif root.opcode == "compare":
        sides = list(root.operands)
    if sides is None or root.attribute("direction") != "LT":
        return None
    places = [_place(condition, side) for side in sides]
    return places if isinstance(places[0], int) and places[1] is not None else None


def _through_parameter(inner: Computation, name: str, call: Instruction) -> str:
    """What a fusion was given as its parameter `name`; a constant inside it gives its own text."""
    each = inner.instructions[name]
    return call.operands[int(each.inside)] if each.opcode == "parameter" else f"={each.inside}"


def _place(condition: Computation, name: str) -> int | str | None:
    """A place in the loop's tuple, or a constant's text."""
    if name.startswith("="):
        return name[1:]
    each = _behind(condition, name)
    if each.opcode == "constant":
        return each.inside
    return int(each.attribute("index")) if each.opcode == "get-tuple-element" else None


def _value(computation: Computation, loop: Instruction, place: int) -> int | None:
    """The constant at a place of the tuple that enters the loop."""
    given = computation.instructions[loop.operands[0]]
    return _constant(computation, given.operands[place]) if given.opcode == "tuple" else None


def _constant(computation: Computation, name: str) -> int | None:
    """The whole number that `name` is; None for what is no constant."""
    each = _behind(computation, name)
    return int(each.inside) if each.opcode == "constant" and re.fullmatch(r"-?\d+", each.inside) else None


def _behind(computation: Computation, name: str) -> Instruction:
    """What copies and the like of it are."""
    each = computation.instructions[name]
    while each.opcode in _SAME:
        each = computation.instructions[each.operands[0]]
    return each


def _step(module: Module, body: Computation, place: int) -> int | None:
    """What the counter grows by in one run; None where it is no constant."""
    if body.root.opcode != "tuple":
        return None
    each = _behind(body, body.root.operands[place])
    if each.opcode == "add":
        added = [_constant(body, name) for name in each.operands]
    elif each.opcode == "fusion" and module.computations[each.called[0]].root.opcode == "add":
        inner = module.computations[each.called[0]]
        sides = [_through_parameter(inner, name, each) for name in inner.root.operands]
        added = [int(side[1:]) if side.startswith("=") else _constant(body, side) for side in sides]
    else:
        return None
    known = [value for value in added if value is not None]
    return known[0] if len(known) == 1 else None
