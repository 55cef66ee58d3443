"""Floating-point operations of one instruction, counted as XLA's own cost analysis counts them.

A multiply-add is two. `matrix` are those of products (dots, convolutions): on a TPU they run in its matrix units, and
are what peak figures are about; `other` is one for each element that an operation makes. What is transcendental
(exponentials and the like) XLA counts apart, and so it is not in here.
"""

import dataclasses
import math
import re

from mobilebert_jax.parallel.hlo_text import Computation, Instruction, Module

ELEMENTWISE = frozenset(
    "abs add and ceil clamp compare convert divide floor is-finite maximum minimum multiply negate not or popcnt "
    "reduce-precision remainder round-nearest-afz round-nearest-even select shift-left shift-right-arithmetic "
    "shift-right-logical sign stochastic-convert subtract xor".split()
)
"""One operation an element of the result."""

_SAID = re.compile(r'"cost_estimate":\{[^{}]*"flops":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Flops:
    """Of products and of everything else."""

    matrix: float = 0.0
    other: float = 0.0

    def __add__(self, more: "Flops") -> "Flops":
        return Flops(self.matrix + more.matrix, self.other + more.other)

    def times(self, count: float) -> "Flops":
        """So often."""
        return Flops(self.matrix * count, self.other * count)

    @property
    def all(self) -> float:
        """Both kinds."""
        return self.matrix + self.other


def instruction_flops(module: Module, computation: Computation, each: Instruction) -> Flops:
    """Of one run of an instruction; what a fusion calls counts, what a loop or a call runs does not."""
    elements = sum(shape.elements for shape in each.shapes)
    opcode = each.opcode
    if opcode == "dot":
        return Flops(matrix=_dot(computation, each))
    if opcode == "convolution":
        return Flops(matrix=_convolution(computation, each))
    if opcode == "custom-call":
        # A kernel of ours says itself what it does; what else is called this way computes nothing.
        said = _SAID.search(each.attributes)
        return Flops(matrix=float(said.group(1))) if said else Flops()
    if opcode == "fusion":
        return _computation_flops(module, each.called[0])
    if opcode in ELEMENTWISE or opcode.startswith("all-reduce"):
        return Flops(other=elements)
    if opcode == "reduce":
        arrays = len(each.operands) // 2
        read = sum(computation.instructions[name].shapes[0].elements for name in each.operands[:arrays])
        return _computation_flops(module, each.called[0]).times(max(read / arrays - elements / arrays, 0))
    if opcode == "reduce-window":
        return _computation_flops(module, each.called[0]).times(_windowed(computation, each))
    if opcode == "scatter":
        updates = computation.instructions[each.operands[-1]].shapes[0].elements
        return _computation_flops(module, each.called[0]).times(updates)
    return Flops()


def _computation_flops(module: Module, name: str) -> Flops:
    computation = module.computations[name]
    return sum((instruction_flops(module, computation, each) for each in computation.instructions.values()), Flops())


def _dot(computation: Computation, each: Instruction) -> float:
    left = computation.instructions[each.operands[0]].shapes[0]
    axes = [int(axis) for axis in re.findall(r"\d+", each.attribute("lhs_contracting_dims"))]
    return 2.0 * each.shapes[0].elements * math.prod(left.dims[axis] for axis in axes)


def _window(each: Instruction) -> dict[str, str]:
    """size, stride, pad, lhs_dilate, rhs_dilate of an instruction that has a window."""
    return dict(part.split("=") for part in each.attribute("window").strip("{}").split() if "=" in part)


def _windowed(computation: Computation, each: Instruction) -> int:
    """Runs of a window's reduction. Windows that overlap stand for a reduction that is spread out again."""
    window = _window(each)
    if window.get("stride", "1") == "1":
        return computation.instructions[each.operands[0]].shapes[0].elements
    return each.shapes[0].elements * (math.prod(int(size) for size in window["size"].split("x")) - 1)


def _convolution(computation: Computation, each: Instruction) -> float:
    """Multiply-adds at positions that are neither padding nor between dilated elements.

    A TPU's compiler writes batches of products as convolutions whose batch is a dilated spatial axis: most of their
    positions are empty.
    """
    left, right = (computation.instructions[name].shapes[0] for name in each.operands[:2])
    left_labels, right_labels, out_labels = re.split(r"_|->", each.attribute("dim_labels"))
    window = _window(each)
    rank = sum(label.isdigit() for label in out_labels)
    positions = 1
    for axis in range(rank):
        size, stride, left_dilate, right_dilate = (
            int(window[name].split("x")[axis]) if name in window else 1
            for name in ("size", "stride", "lhs_dilate", "rhs_dilate")
        )
        low = int(window["pad"].split("x")[axis].split("_")[0]) if "pad" in window else 0
        given = left.dims[left_labels.index(str(axis))]
        made = each.shapes[0].dims[out_labels.index(str(axis))]
        positions *= _filled(size, stride, left_dilate, right_dilate, low, given, made)
    inputs = right.dims[right_labels.index("i")]  # of one group already
    outputs = right.dims[right_labels.index("o")]
    groups = int(each.attribute("batch_group_count") or 1)
    return 2.0 * positions * inputs * outputs * left.dims[left_labels.index("b")] / groups


def _filled(size: int, stride: int, left_dilate: int, right_dilate: int, low: int, given: int, made: int) -> int:
    """How many (position in the window, element of the result) meet an element of the input, along one axis."""
    count = 0
    for tap in range(size):
        offset = tap * right_dilate - low
        if stride == left_dilate and offset % stride == 0:
            # Each step in the result is one in the input.
            first = offset // stride
            count += max(min(made, given - first) - max(0, -first), 0)
            continue
        for place in range(made):
            index = place * stride + offset
            count += index % left_dilate == 0 and 0 <= index // left_dilate < given
    return count
