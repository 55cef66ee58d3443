"""Bytes that one instruction reads from and writes to the device's main memory."""

from mobilebert_jax.parallel.hlo_text import Computation, Instruction, Module, Shape

FREE = frozenset(
    "parameter constant tuple get-tuple-element bitcast while conditional call after-all partition-id replica-id iota "
    "opt-barrier domain add-dependency send recv".split()
)
"""What moves nothing, or whose parts are counted one by one."""

_SLICES = frozenset(("dynamic-slice", "slice", "gather"))


def moved_bytes(module: Module, computation: Computation, each: Instruction) -> float:
    """Operands and results in main memory. Of an array that is only sliced or updated in place, just that part."""
    if each.opcode in FREE or each.opcode.endswith("-done") or _allocates(each):
        return 0.0
    given = [_array(computation, name) for name in each.operands]
    if each.opcode.endswith("-start"):
        return float(sum(_main(shape) for shape in each.shapes))
    if each.opcode == "fusion":
        return _fusion(module, each, given)
    if each.opcode in _SLICES:
        return 2.0 * sum(_main(shape) for shape in each.shapes)
    if each.opcode == "dynamic-update-slice":
        return 2.0 * _main(given[1])
    if each.opcode == "scatter":
        return 3.0 * _main(given[-1])
    return float(sum(map(_main, given)) + sum(map(_main, each.shapes)))


def _allocates(each: Instruction) -> bool:
    return each.opcode == "custom-call" and "AllocateBuffer" in each.attributes


def _array(computation: Computation, name: str) -> Shape:
    """The array that an operand is; of a tuple, which no arithmetic takes, a token of nothing."""
    shapes = computation.instructions[name].shapes
    return shapes[0] if len(shapes) == 1 else Shape("token", ())


def _main(shape: Shape) -> int:
    return shape.bytes if shape.space == 0 else 0


def _fusion(module: Module, each: Instruction, given: list[Shape]) -> float:
    inner = module.computations[each.called[0]]
    total = 0.0
    for number, shape in enumerate(given):
        if shape.space == 0 and number in inner.parameters:
            total += _read(inner, inner.parameters[number], shape)
    return total + _written(inner, each)


def _read(inner: Computation, parameter: Instruction, shape: Shape) -> float:
    """Of a parameter that lies in main memory: all of it, or the slices that are taken."""
    users, read = _uses(inner, parameter), 0.0
    for user, name in users:
        if user.opcode in _SLICES and user.operands[0] == name:
            read += user.shapes[0].bytes
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
            read += 0.0  # updated in place
        else:
            return float(shape.bytes)
    return min(read, float(shape.bytes))


def _uses(inner: Computation, each: Instruction) -> list[tuple[Instruction, str]]:
    """(instruction, the name it knows the array by); bitcasts are looked through."""
    found = []
    for user in inner.users[each.name]:
        found += _uses(inner, user) if user.opcode == "bitcast" else [(user, each.name)]
    return found


def _written(inner: Computation, each: Instruction) -> float:
    """Of the results in main memory; of an update in place, the update."""
    root = inner.root
    parts = [inner.instructions[name] for name in root.operands] if root.opcode == "tuple" else [root]
    if len(parts) != len(each.shapes):
        return float(sum(map(_main, each.shapes)))
    written = 0.0
    for part, shape in zip(parts, each.shapes, strict=True):
        while part.opcode == "bitcast":
            part = inner.instructions[part.operands[0]]
        if shape.space == 0 and part.opcode == "dynamic-update-slice":
            written += inner.instructions[part.operands[1]].shapes[0].bytes
        else:
            written += _main(shape)
    return written
