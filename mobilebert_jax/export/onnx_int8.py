"""ONNX graphs with 8-bit weights, by the recipe's method: tables here, kernels mostly by onnxruntime's quantizer."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.quantization.int8 import quantize
from mobilebert_jax.quantization.recipe import DYNAMIC, STATIC, WEIGHT_ONLY, Recipe, Samples
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import INPUTS

KERNELS = ("MatMul", "Gemm")
"""The operations that multiply with a kernel."""


def quantized_model(model: Any, recipe: Recipe) -> Any:
    """An `onnx.ModelProto` like `model` with kernels and tables of 8-bit integers.

    Kernels have a scale an output channel, tables one a row.

    Raises:
        UserError: the extra is not installed.
    """
    try:
        import onnx
        import onnxruntime.quantization  # noqa: F401 (is it there?)
    except ImportError as error:
        raise UserError("onnxruntime is missing: pip install 'mobilebert-jax[onnx]'") from error
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _quantize_tables(made)
    return {DYNAMIC: _dynamic, WEIGHT_ONLY: _weight_only, STATIC: _static}[recipe.method](made, recipe)


def _dynamic(model: Any, recipe: Recipe) -> Any:
    """Activations become integers on the way, each tensor with a range of its own."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def write(source: Path, target: Path) -> None:
        quantize_dynamic(
            source, target, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=list(KERNELS)
        )

    return _through_files(model, write)


def _static(model: Any, recipe: Recipe) -> Any:
    """Activations become integers by the ranges that the graph shows on the recipe's samples; products give floats."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    def write(source: Path, target: Path) -> None:
        quantize_static(
            source,
            target,
            _reader(recipe.samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(KERNELS),
            extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": list(KERNELS)},
        )

    return _through_files(model, write)


def _weight_only(model: Any, recipe: Recipe) -> Any:
    """Every kernel is stored as integers and multiplied as floats."""
    from onnx import helper, numpy_helper

    weights = {weight.name: weight for weight in model.graph.initializer}
    nodes, done = [], set()
    for node in model.graph.node:
        kernel = node.input[1] if node.op_type in KERNELS and node.input[1] in weights else ""
        if kernel and kernel not in done:
            stored = quantize(numpy_helper.to_array(weights[kernel]), -2)
            names = [f"{kernel}_{part}" for part in ("int8", "scale")]
            _replace(model, kernel, dict(zip(names, (stored.values, np.asarray(stored.scale)[0]), strict=True)))
            nodes.append(helper.make_node("DequantizeLinear", names, [kernel], name=f"{kernel}_floats", axis=1))
            done.add(kernel)
        nodes.append(node)
    return _with_nodes(model, nodes)


def _quantize_tables(model: Any) -> None:
    """Every table that rows are taken from: integers are looked up, and their rows' scales, and multiplied."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {
        weight.name: weight
        for weight in model.graph.initializer
        if weight.data_type == TensorProto.FLOAT and len(weight.dims) == 2
    }
    nodes, done = [], set()
    for node in model.graph.node:
        table = node.input[0] if _takes_rows(node) and node.input[0] in weights else ""
        if not table:
            nodes.append(node)
            continue
        names = [f"{table}_{part}" for part in ("int8", "scale")]
        if table not in done:
            stored = quantize(numpy_helper.to_array(weights[table]), -1)
            _replace(model, table, dict(zip(names, (stored.values, stored.scale), strict=True)))
            done.add(table)
            if any(table in other.input and not _takes_rows(other) for other in model.graph.node):  # tied to a head
                _replace(model, "", {f"{table}_scales": stored.scale[:, 0]})
                given = [names[0], f"{table}_scales"]
                nodes.insert(0, helper.make_node("DequantizeLinear", given, [table], name=f"{table}_floats", axis=0))
        ids, (rows,), own = node.input[1], node.output, node.name or node.output[0]
        parts = [f"{rows}_{part}" for part in ("int8", "scale", "float")]
        nodes += [
            helper.make_node("Gather", [names[0], ids], [parts[0]], name=f"{own}_rows"),
            helper.make_node("Gather", [names[1], ids], [parts[1]], name=f"{own}_scales"),
            helper.make_node("Cast", [parts[0]], [parts[2]], name=f"{own}_cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", [parts[2], parts[1]], [rows], name=f"{own}_scaled"),
        ]
    _with_nodes(model, nodes)


def _takes_rows(node: Any) -> bool:
    return node.op_type == "Gather" and all(each.i == 0 for each in node.attribute if each.name == "axis")


def _replace(model: Any, name: str, arrays: dict[str, Any]) -> None:
    """Puts arrays in the place of a weight."""
    from onnx import numpy_helper

    kept = [weight for weight in model.graph.initializer if weight.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(each), own) for own, each in arrays.items())


def _with_nodes(model: Any, nodes: list[Any]) -> Any:
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def _reader(samples: Samples) -> Any:
    """The samples one by one, without their padding, as onnxruntime's calibration reads them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter(range(len(samples[INPUTS[0]])))

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.rows, None)
            if row is None:
                return None
            length = int(samples["attention_mask"][row].sum())
            return {name: samples[name][row : row + 1, :length].astype(np.int64) for name in INPUTS}

    return Reader()


def _through_files(model: Any, write: Callable[[Path, Path], None]) -> Any:
    """What onnxruntime's quantizer makes of a model."""
    import onnx

    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = (Path(folder) / name for name in ("model.onnx", "model_quantized.onnx"))
        onnx.save(model, source)
        write(source, target)
        return onnx.load(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """It advises a preparation that shapes of any length do not allow."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(level)
