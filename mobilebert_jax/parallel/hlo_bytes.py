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
    total = sum(
        _read(module, inner, inner.parameters[number], shape)
        for number, shape in enumerate(given)
        if shape.space == 0 and number in inner.parameters
    )
    return total + _written(module, inner, each)


def _read(module: Module, inner: Computation, array: Instruction, shape: Shape) -> float:
    """Of an array in main memory that a fusion is given: all of it, or the slices that are taken."""
    read = 0.0
    for user in inner.users[array.name]:
        first = user.operands[0] == array.name
        if user.opcode == "bitcast":
            read += _read(module, inner, user, shape)
        elif user.opcode in _SLICES and first:
            read += user.shapes[0].bytes
        elif user.opcode == "fusion":
            within = module.computations[user.called[0]]
            places = [place for place, name in enumerate(user.operands) if name == array.name]
            read += sum(_read(module, within, within.parameters[place], shape) for place in places)
        elif not (user.opcode == "dynamic-update-slice" and first):  # which updates in place
            return float(shape.bytes)
    return min(read, float(shape.bytes))


def _written(module: Module, inner: Computation, each: Instruction) -> float:
    """Of the results in main memory; of an update in place, the update."""
    parts = [inner.instructions[name] for name in inner.root.operands] if inner.root.opcode == "tuple" else [inner.root]
    if len(parts) != len(each.shapes):
        return float(sum(map(_main, each.shapes)))
    return sum(
        _made(module, inner, part, shape) for part, shape in zip(parts, each.shapes, strict=True) if shape.space == 0
    )


def _made(module: Module, inner: Computation, part: Instruction, shape: Shape) -> float:
    """Bytes that one result of a fusion is written with."""
    while part.opcode in ("bitcast", "fusion"):
        if part.opcode == "fusion":
            inner = module.computations[part.called[0]]
            part = inner.root
        else:
            part = inner.instructions[part.operands[0]]
    if part.opcode == "dynamic-update-slice":
        return float(inner.instructions[part.operands[1]].shapes[0].bytes)
    return float(shape.bytes)
