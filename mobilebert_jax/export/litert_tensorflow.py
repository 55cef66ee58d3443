"""A .tflite by TensorFlow's own converter, where LiteRT's is not there: slower, heavier, and the same in the end."""

import tempfile
from collections.abc import Callable
from typing import Any

from mobilebert_jax.export.litert_int8 import SIGNATURE
from mobilebert_jax.utils.types import INPUTS, Array


def converted_by_tensorflow(program: Callable[..., dict[str, Array]], length: int, batch: int) -> bytes:
    """The .tflite of `program`, three int32 inputs [batch, length] to outputs by name, with one signature.

    JAX hands its program over by `jax2tf`, as one operation that the converter takes apart.
    """
    import tensorflow as tf
    from jax.experimental import jax2tf

    specs = [tf.TensorSpec((batch, length), tf.int32, name=name) for name in INPUTS]
    module: Any = tf.Module()
    module.program = tf.function(jax2tf.convert(program), input_signature=specs, autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: module.program.get_concrete_function()})
        return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE]).convert()
