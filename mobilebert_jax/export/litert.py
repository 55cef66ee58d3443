"""LiteRT (TensorFlow Lite): one .tflite a length, float32 or with 8-bit weights.

JAX's portable StableHLO goes straight into LiteRT's own converter; neither TensorFlow nor PyTorch is needed. The
converter's Python interface is not documented: its version is pinned in the extra `litert`. Where it is missing and
TensorFlow is there (extra `litert-tensorflow`), that converts.
"""

import functools
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mobilebert_jax.export.checks import PROBABILITY
from mobilebert_jax.export.inference_form import InferenceForm
from mobilebert_jax.export.inference_forward import Forward, forward
from mobilebert_jax.export.litert_int8 import SIGNATURE, quantized_bytes, with_int8_tables
from mobilebert_jax.export.litert_tensorflow import converted_by_tensorflow
from mobilebert_jax.export.stablehlo import exported
from mobilebert_jax.quantization.recipe import Recipe
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import INPUTS, Array


def litert_bytes(form: InferenceForm, length: int, batch: int = 1, run: Forward = forward) -> bytes:
    """A .tflite of int32 inputs [batch, length] by their names, float32 inside; it computes what `run` does.

    A classifier's gives probabilities [batch, classes], as task libraries want them.

    Raises:
        UserError: the extra is not installed, or the converter made nothing.
    """
    run = functools.partial(_outputs, run)
    if find_spec("litert_converter") is None and find_spec("tensorflow"):
        return converted_by_tensorflow(functools.partial(run, form), length, batch)
    program = exported(form, length, batch, platforms=("cpu",), run=run)
    names = jax.tree.unflatten(program.out_tree, range(len(program.out_avals)))
    return _converted(program.mlir_module_serialized, sorted(names, key=names.get))


def _outputs(run: Forward, form: InferenceForm, *inputs: Array) -> dict[str, Array]:
    outputs = run(form, *inputs)
    if outputs.keys() == {"logits"} and outputs["logits"].ndim == 2 and outputs["logits"].shape[1] > 1:
        return {PROBABILITY: jax.nn.softmax(outputs["logits"], axis=-1)}
    return outputs


def litert_file(
    form: InferenceForm, length: int, precision: str, recipe: Recipe | None = None, run: Forward = forward
) -> bytes:
    """A .tflite [1, length], "float32" or "int8": 8-bit weights and words, the rest as the recipe says (dynamic)."""
    if precision == "float32":
        return litert_bytes(form, length, run=run)
    return quantized_bytes(litert_bytes(with_int8_tables(form), length, run=run), length, recipe or Recipe())


def _converted(portable: bytes, names: Sequence[str]) -> bytes:
    try:
        from litert_converter.mlir import ir, passmanager
        from litert_converter.mlir._mlir_libs import converter_api_ext as converter
        from litert_converter.mlir.dialects import stablehlo
    except ImportError as error:
        raise UserError("LiteRT's converter is missing: pip install 'mobilebert-jax[litert]'") from error
    context = ir.Context()
    converter.prepare_mlir_context(context)
    with context:
        module = stablehlo.deserialize_portable_artifact(context, portable)
    converter.set_signature(
        module.operation, signature_name=SIGNATURE, input_names=list(INPUTS), output_names=list(names)
    )
    config = converter.ConvertToTFLConfig()
    config.unsafe_fuse_dynamic_shaped_broadcast = True
    with context, tempfile.TemporaryDirectory() as folder:
        converter.run_convert_to_tfl_passes(module, passmanager.PassManager(), config)
        path = Path(folder) / "model.tflite"
        converter.export_flatbuffer_to_file(module.operation, str(path))
        made = path.read_bytes()
    if not made:
        raise UserError("LiteRT's converter wrote an empty file")
    return made


class Runner:
    """A .tflite, its bytes or where it lies, run by LiteRT on the CPU."""

    def __init__(self, model: bytes | str, threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        given = {"model_path": model} if isinstance(model, str) else {"model_content": model}
        self.interpreter = Interpreter(**given, num_threads=threads)
        self.run = self.interpreter.get_signature_runner(SIGNATURE)

    def __call__(self, *inputs: Any) -> dict[str, Any]:
        """Outputs by name; beside probabilities their logarithms, which serve as logits."""
        outputs = self.run(**dict(zip(INPUTS, inputs, strict=True)))
        if PROBABILITY in outputs:
            smallest = np.finfo(np.float32).tiny
            outputs["logits"] = np.log(np.maximum(outputs[PROBABILITY], smallest))
        return outputs
