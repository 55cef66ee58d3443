"""What activations meet every kernel: their lowest and highest values over calibration data."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.models.block import Block
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import Linear
from mobilebert_jax.models.layers import Dense
from mobilebert_jax.quantization.recipe import STATIC, Ranges, Recipe, Samples
from mobilebert_jax.utils.trees import STACK
from mobilebert_jax.utils.types import INPUTS, Array, Params

BATCH = 8

Ends = dict[str, tuple[jax.Array, jax.Array]]


def activation_ranges(model: nn.Module, params: Params, samples: Samples) -> Ranges:
    """Ranges of what enters every dense layer of a model, at the tokens of `samples`, computed in float32.

    The blocks are walked once more beside the model, from their own inputs, for a scan hands out no ranges.
    """
    model = model.clone(cfg=model.cfg.replace(dtype="float32"))
    measure = jax.jit(lambda params, *inputs: _ranges(model, params, *inputs))
    found: Ends = {}
    count = len(samples[INPUTS[0]])
    for start in range(0, count, BATCH):
        # The last batch repeats its last row, so that all have one shape.
        rows = np.minimum(np.arange(start, start + BATCH), count - 1)
        own = measure(params, *(samples[name][rows] for name in INPUTS))
        found = {name: _widened(ends, found.get(name, ends)) for name, ends in own.items()}
    return {name: tuple(np.asarray(end, np.float32) for end in ends) for name, ends in found.items()}


def make_recipe(model: nn.Module, params: Params, method: str, samples: Samples) -> Recipe:
    """The recipe of a method; the ranges of `static` are those on the samples, the others have none."""
    return Recipe(method, activation_ranges(model, params, samples), samples) if method == STATIC else Recipe(method)


def _widened(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    return jnp.minimum(one[0], other[0]), jnp.maximum(one[1], other[1])


def _ranges(model: nn.Module, params: Params, ids: Array, mask: Array, types: Array) -> Ends:
    around: Ends = {}
    with _observed(mask, around, lambda name: STACK not in name.split("/")):
        out = model.apply({"params": params}, ids, mask, types, output_hidden_states=True)
    prefix, encoder = ("encoder/", params["encoder"]) if "encoder" in params else ("", params)
    hidden = getattr(out, "encoder", out).hidden_states

    def block(own: Params, x: Array) -> Ends:
        return _block_ranges(model.cfg, own, x, mask)

    inside = jax.vmap(block)(encoder[STACK], hidden[:-1])
    return around | {f"{prefix}{STACK}/{name}": ends for name, ends in inside.items()}


def _block_ranges(cfg: ModelConfig, params: Params, x: Array, mask: Array) -> Ends:
    found: Ends = {}
    with _observed(mask, found, lambda name: True):
        Block(cfg).apply({"params": params}, x, mask)
    return found


@contextlib.contextmanager
def _observed(mask: Array, found: Ends, wanted: Callable[[str], bool]) -> Iterator[None]:
    """Fills `found` with the ranges of what enters dense layers, by their kernels' names, while inside."""

    def call(usual: Callable[..., Any], args: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        name = "/".join([*module.path, "kernel"])
        if context.method_name == "__call__" and isinstance(module, Dense | Linear) and wanted(name):
            found[name] = _ends(args[0], mask)
        return usual(*args, **options)

    with nn.intercept_methods(call):
        yield


def _ends(x: Array, mask: Array) -> tuple[jax.Array, jax.Array]:
    """Lowest and highest value of x [B, S, ...] at tokens, or of x [B, ...]."""
    seen = mask[:, :, None] > 0 if x.ndim == 3 and x.shape[:2] == mask.shape else True
    return jnp.where(seen, x, jnp.inf).min(), jnp.where(seen, x, -jnp.inf).max()
