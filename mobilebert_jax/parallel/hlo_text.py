"""A compiled program's text (HLO) as computations and instructions: what the cost walk needs, nothing more."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

from mobilebert_jax.utils.errors import UserError

BITS = {"pred": 8, "token": 0, "opaque": 0, "c64": 64, "c128": 128, "tf32": 32}
"""Where a type's name does not end in its bits, as in f32, bf16, s8 and u4."""

_WIDTH = re.compile(r"\d+")
_ARRAY = re.compile(r"([a-z]\w*)\[([^\]]*)\](?:\{([^{}]*)\})?")
_OPERAND = re.compile(r"%([\w.\-]+)")
_NAME = re.compile(r"\s*(ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition|called_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_COMMENT = re.compile(r"/\*.*?\*/")


@dataclasses.dataclass(frozen=True)
class Shape:
    """One array: element type, sizes, and the memory it lies in.

    `space` 0 is the device's main memory; a TPU's 1 is its vector memory, 2 its semaphores, 5 the host's memory.
    """

    dtype: str
    dims: tuple[int, ...]
    space: int = 0

    @property
    def elements(self) -> int:
        """How many; 1 for a scalar."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Of all elements, without padding."""
        bits = BITS[self.dtype] if self.dtype in BITS else int(_WIDTH.search(self.dtype).group())
        return self.elements * bits // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line: `shapes` are the arrays of its result, `operands` names, `inside` what stood between the brackets."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    inside: str
    attributes: str
    root: bool

    @property
    def called(self) -> tuple[str, ...]:
        """The computations it refers to, a loop's condition included."""
        branches = _BRANCHES.search(self.attributes)
        named = _OPERAND.findall(branches.group(1)) if branches else []
        return (*_CALLED.findall(self.attributes), *named)

    @property
    def op_name(self) -> str:
        """Where in the Python program it comes from, such as jit(step)/teacher/while."""
        return self.attribute("op_name").strip('"')

    def attribute(self, name: str) -> str:
        """The text of `name=...` up to the next comma or bracket that closes; "" where it has none."""
        found = re.search(rf'\b{name}=("[^"]*"|\{{[^{{}}]*\}}|[^,\s}}]+)', self.attributes)
        return found.group(1) if found else ""


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions by name, in the text's order."""

    name: str
    instructions: dict[str, Instruction]

    @functools.cached_property
    def root(self) -> Instruction:
        """What it returns."""
        return next(each for each in self.instructions.values() if each.root)

    @functools.cached_property
    def parameters(self) -> dict[int, Instruction]:
        """Its parameters by number."""
        found = [each for each in self.instructions.values() if each.opcode == "parameter"]
        return {int(each.inside): each for each in found}

    @functools.cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """Instruction -> those that it is an operand of."""
        users: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for each in self.instructions.values():
            for operand in dict.fromkeys(each.operands):
                users[operand].append(each)
        return users


@dataclasses.dataclass(frozen=True)
class Module:
    """A whole program, one device's part of it."""

    computations: dict[str, Computation]
    entry: str


def parse_module(text: str) -> Module:
    """`compiled.as_text()` -> Module; UserError for a text that is no such program."""
    computations, entry, body, current = {}, "", {}, ""
    for line in text.splitlines():
        if line.startswith("}") and current:
            computations[current] = Computation(current, body)
            current = ""
        elif current:
            instruction = _parse_instruction(line)
            body[instruction.name] = instruction
        elif head := _COMPUTATION.match(line):
            current, body = head.group(2), {}
            entry = current if head.group(1) else entry
    if not entry:
        raise UserError("this is no text of a compiled program: it has no ENTRY")
    return Module(computations, entry)


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """The arrays of a shape, of a tuple's in order: `(f32[2,3]{1,0:T(8,128)S(1)}, s32[])`."""
    return tuple(_parse_arrays(_COMMENT.sub("", text)))


def _parse_arrays(text: str) -> Iterator[Shape]:
    for dtype, dims, layout in _ARRAY.findall(text):
        sizes = tuple(int(size.lstrip("<=")) for size in dims.split(",") if size)
        space = re.search(r"S\((\d+)\)", layout)
        yield Shape(dtype, sizes, int(space.group(1)) if space else 0)


def _parse_instruction(line: str) -> Instruction:
    head = _NAME.match(line)
    if head is None:
        raise UserError(f"not a line of a compiled program: {line.strip()[:80]}")
    position = head.end()
    shape_end = _closing(line, position) + 1 if line[position] == "(" else line.index(" ", position)
    opening = line.index("(", shape_end)
    closing = _closing(line, opening)
    opcode, inside = line[shape_end:opening].strip(), line[opening + 1 : closing]
    shapes = parse_shapes(line[position:shape_end])
    operands = () if opcode in ("constant", "parameter") else tuple(_OPERAND.findall(inside))
    return Instruction(head.group(2), opcode, shapes, operands, inside, line[closing + 1 :], bool(head.group(1)))


_BRACKET = re.compile(r"[()]")


def _closing(line: str, opening: int) -> int:
    """The bracket that closes the one at `opening`."""
    depth = 0
    for found in _BRACKET.finditer(line, opening):
        depth += 1 if found.group() == "(" else -1
        if depth == 0:
            return found.start()
    raise UserError(f"a bracket stays open: {line.strip()[:80]}")
