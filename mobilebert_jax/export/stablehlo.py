"""StableHLO: a portable program of `jax.export`, for every platform that JAX has; other compilers start from it."""

import functools
from collections.abc import Mapping

import jax
import jax.export
import jax.numpy as jnp

from mobilebert_jax.export.inference_form import InferenceForm
from mobilebert_jax.export.inference_forward import Forward, forward
from mobilebert_jax.utils.types import INPUTS, Array

PLATFORMS = ("cpu", "cuda", "tpu")


def exported(
    form: InferenceForm,
    length: int,
    batch: int = 1,
    platforms: tuple[str, ...] = PLATFORMS,
    run: Forward = forward,
):
    """The `jax.export.Exported` of three int32 inputs [batch, length]; its outputs are a dict by name, `run`'s."""
    specs = [jax.ShapeDtypeStruct((batch, length), jnp.int32)] * len(INPUTS)
    return jax.export.export(jax.jit(functools.partial(run, form)), platforms=platforms)(*specs)


def stablehlo_bytes(form: InferenceForm, length: int, batch: int = 1) -> bytes:
    """The program with its weights; `jax.export.deserialize` reads it."""
    return bytes(exported(form, length, batch).serialize())


class Runner:
    """A program, run by JAX."""

    def __init__(self, program: bytes):
        self.call = jax.jit(jax.export.deserialize(bytearray(program)).call)

    def __call__(self, *inputs: Array) -> Mapping[str, Array]:
        """Outputs by name."""
        return self.call(*inputs)
