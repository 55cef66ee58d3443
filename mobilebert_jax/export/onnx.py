"""ONNX: one file for any batch and length, float32 or with 8-bit weights, as transformers and transformers.js read it.

jax2onnx translates the inference-only form; `onnx_int8` makes the 8-bit file of that.
"""

import logging
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.export.inference_form import InferenceForm
from mobilebert_jax.export.inference_forward import Forward, forward, output_names
from mobilebert_jax.export.onnx_int8 import quantized_model
from mobilebert_jax.quantization.recipe import Recipe
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import INPUTS

MISSING = "{} is missing: pip install 'mobilebert-jax[onnx]'"
AXES = ("batch_size", "sequence_length")


def onnx_model(form: InferenceForm, run: Forward = forward) -> Any:
    """An `onnx.ModelProto` of int64 inputs [batch_size, sequence_length] by their names, float32 inside.

    It computes what `run` does, whose outputs are those of `forward`.

    Raises:
        UserError: the extra is not installed.
    """
    try:
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(MISSING.format("jax2onnx")) from error
    names = output_names(form)

    def program(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        outputs = run(form, *inputs)
        return tuple(outputs[name] for name in names)

    specs = [jax.ShapeDtypeStruct(AXES, jnp.int32)] * len(INPUTS)
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it remarks on shapes that nobody will ask for
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_onnx(program, specs, model_name="mobilebert_jax", input_names=list(INPUTS), output_names=list(names))
    return _with_int64_inputs(_with_known_shapes(model))


def _with_known_shapes(model: Any) -> Any:
    """Where the graph asks for a weight's shape it gets the numbers: a table that is asked would stay in float32."""
    from onnx import numpy_helper

    weights = {weight.name: weight for weight in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "Shape" and node.input[0] in weights and not node.attribute:
            shape = np.array(weights[node.input[0]].dims, np.int64)
            model.graph.initializer.append(numpy_helper.from_array(shape, node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _with_int64_inputs(model: Any) -> Any:
    """Clients of transformers feed int64: the graph's int32 inputs become casts of such."""
    from onnx import TensorProto, helper

    casts = []
    for given in model.graph.input:
        inside = f"{given.name}_int32"
        for node in model.graph.node:
            node.input[:] = [inside if name == given.name else name for name in node.input]
        casts.append(helper.make_node("Cast", [given.name], [inside], name=f"cast_{given.name}", to=TensorProto.INT32))
        given.type.tensor_type.elem_type = TensorProto.INT64
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def onnx_file(model: Any, precision: str, recipe: Recipe | None = None) -> bytes:
    """What `onnx_model` gave as a file's content, "float32" or "int8", which is as the recipe says (dynamic)."""
    if precision != "float32":
        model = quantized_model(model, recipe or Recipe())
    return model.SerializeToString()


class Runner:
    """A model, run by onnxruntime on the CPU."""

    def __init__(self, model: Any, threads: int = 1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        given = model if isinstance(model, str | bytes) else model.SerializeToString()
        self.session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_outputs()]

    def __call__(self, *inputs: Any) -> dict[str, np.ndarray]:
        """Outputs by name."""
        feed = {name: np.asarray(values, np.int64) for name, values in zip(INPUTS, inputs, strict=True)}
        return dict(zip(self.names, self.session.run(None, feed), strict=True))
