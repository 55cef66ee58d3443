"""Attention in one TPU kernel: maps are made, used and forgotten in the chip's vector memory, on the way back anew.

A program of the kernel holds whole rows of a few heads, so no length-wise blocks and no running maximum are needed: at
the 512 tokens of the paper a head's map is 1 MiB in float32 of the 16 MiB that a program may use. Queries, keys and
values stay [B, S, heads side by side], as the projections make them; heads narrower than a TPU's 128 lanes are cut
out of that inside the kernel, where the general kernels of `jax.experimental.pallas.ops` want an array [B, N, S, D]
each of whose rows fills 128 lanes of memory.

What it saves, as `mobilebert plan` counts it for v5e: of the paper's distillation step at length 512, 8 rows a chip,
5.4 of 26.2 GB moved, 1.1 of 3.2 GiB of temporaries, 4.8 of 37.7 ms (v5p: 3.4 of 17.2, v6e: 4.5 of 19.7). It has been
compiled for these, not yet run on one.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from mobilebert_jax.models.masks import MASKED
from mobilebert_jax.utils.types import Array

LANES = 128
SHORTEST, LONGEST = 256, 512
"""Tokens of which a head's maps fit into vector memory, and are large enough to be worth a program of the kernel each:
at 128 the compiler's own form takes a few percent more time by the published rates, before what programs cost to start.
"""
WIDTHS = (32, 64, 128, 256)
"""Of heads."""

_OVER_WIDTH = (((1,), (1,)), ((), ()))
_OVER_KEYS = (((1,), (0,)), ((), ()))
_OVER_QUERIES = (((0,), (0,)), ((), ()))


def fits_tpu(shape: tuple[int, ...], dtype: jnp.dtype) -> bool:
    """Whether the kernel takes queries [B, S, N, D]: bfloat16, whole tiles of tokens, widths that were compiled."""
    _, length, _, width = shape
    return dtype == jnp.bfloat16 and length % LANES == 0 and SHORTEST <= length <= LONGEST and width in WIDTHS


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def tpu_attention(
    query: Array, key: Array, value: Array, pieces: Array, seen: Array, width: int, interpret: bool = False
) -> Array:
    """See `fused_attention.Kernel`. `interpret`: run it as ordinary operations, anywhere."""
    return _forward(query, key, value, pieces, seen, width, interpret)[0]


def _forward(query, key, value, pieces, seen, width, interpret):
    kernel = functools.partial(_forward_kernel, width=width)
    context = _call(kernel, 1, 2, width, interpret, (query, key, value), (pieces, seen))[0]
    return context, (query, key, value, pieces, seen)


def _backward(width, interpret, kept, cotangent):
    *arrays, pieces, seen = kept
    kernel = functools.partial(_backward_kernel, width=width)
    gradients = _call(kernel, 3, 5, width, interpret, (*arrays, cotangent), (pieces, seen))
    return (*gradients, None, None)


tpu_attention.defvjp(_forward, _backward)


def _call(kernel, results, products, width, interpret, arrays, rows):
    """Runs the kernel for each example and each group of heads that fills whole lanes; `products`: of it, a head."""
    examples, length, inner = arrays[0].shape
    heads = inner // width
    group = next((each for each in range(1, heads) if heads % each == 0 and each * width % LANES == 0), heads)
    part = pl.BlockSpec((1, length, group * width), lambda example, heads: (example, 0, heads))
    row = pl.BlockSpec((1, 1, length), lambda example, heads: (example, 0, 0))
    maps = examples * heads * length * length
    return pl.pallas_call(
        kernel,
        grid=(examples, heads // group),
        in_specs=[part] * len(arrays) + [row] * len(rows),
        out_specs=[part] * results,
        out_shape=[jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype)] * results,
        cost_estimate=pl.CostEstimate(
            flops=2 * products * maps * width,
            transcendentals=maps,
            bytes_accessed=(len(arrays) + results) * arrays[0].nbytes + sum(each.nbytes for each in rows),
        ),
        interpret=interpret,
    )(*arrays, *rows)


def _visible(pieces, seen):
    """True for the keys that a query sees, [S, S], of two rows [1, S]."""
    own = jnp.broadcast_to(pieces, (pieces.shape[1], pieces.shape[1]))
    return (own == own.T) & (seen > 0)


def _probabilities(query, key, visible):
    """One head's map [S, S] float32."""
    products = _product(query, key, _OVER_WIDTH) / math.sqrt(query.shape[1])
    scores = jnp.where(visible, products, MASKED)
    powers = jnp.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _heads_of(ref, width):
    """The columns of each head in a part."""
    return [slice(start, start + width) for start in range(0, ref.shape[2], width)]


def _forward_kernel(query, key, value, pieces, seen, context, *, width):
    visible = _visible(pieces[0], seen[0])
    for head in _heads_of(context, width):
        probs = _probabilities(query[0, :, head], key[0, :, head], visible)
        made = _product(probs.astype(value.dtype), value[0, :, head], _OVER_KEYS)
        context[0, :, head] = made.astype(context.dtype)


def _backward_kernel(query, key, value, cotangent, pieces, seen, to_query, to_key, to_value, *, width):
    scale, dtype = 1 / math.sqrt(width), query.dtype
    visible = _visible(pieces[0], seen[0])
    for head in _heads_of(query, width):
        q, k, v, given = (ref[0, :, head] for ref in (query, key, value, cotangent))
        probs = _probabilities(q, k, visible)
        to_value[0, :, head] = _product(probs.astype(dtype), given, _OVER_QUERIES).astype(dtype)
        to_probs = _product(given, v, _OVER_WIDTH)
        to_scores = probs * (to_probs - (probs * to_probs).sum(1, keepdims=True))
        to_scores = jnp.where(visible, to_scores * scale, 0.0).astype(dtype)
        to_query[0, :, head] = _product(to_scores, k, _OVER_KEYS).astype(dtype)
        to_key[0, :, head] = _product(to_scores, q, _OVER_QUERIES).astype(dtype)


def _product(left, right, over):
    return jax.lax.dot_general(left, right, over, preferred_element_type=jnp.float32)
