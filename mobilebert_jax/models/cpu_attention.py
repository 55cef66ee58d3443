"""Attention for CPUs: one example after the other, so that its maps stay in the cache, and on the way back anew.

At the paper's sizes the maps of a batch fill the last cache several times over; the plain form also keeps two of them a
layer for the way back. Products are written in the form that is fastest there: the larger of the two result axes last.
"""

import functools

import jax
import jax.numpy as jnp

from mobilebert_jax.models.dropout import kept
from mobilebert_jax.models.masks import MASKED
from mobilebert_jax.utils.types import Array

SHORTEST = 256
"""Tokens from which on it is faster; below, all maps of a batch find room in the cache anyway."""


def fits_cpu(shape: tuple[int, ...]) -> bool:
    """Whether queries [B, S, N, D] are worth it."""
    return shape[1] >= SHORTEST


def cpu_attention(
    query: Array,
    key: Array,
    value: Array,
    pieces: Array,
    seen: Array,
    width: int,
    seeds: Array | None = None,
    rate: float = 0.0,
) -> Array:
    """See `fused_attention.Kernel`; probabilities are dropped at `rate` by `seeds` [B, N, 2] (`dropout.kept`)."""
    if seeds is None:
        seeds = jnp.zeros((len(query), query.shape[2] // width, 2), jnp.uint32)
    return _attention(query, key, value, pieces, seen, seeds, width, rate)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def _attention(query, key, value, pieces, seen, seeds, width, rate):
    return _forward(query, key, value, pieces, seen, seeds, width, rate)[0]


def _forward(query, key, value, pieces, seen, seeds, width, rate):
    def row(own):
        q, k, v = (_heads(each, width) for each in own[:3])
        scores = _scores(q, k, *own[3:5])
        highest = scores.max(-1, keepdims=True)
        powers = jnp.exp(scores - highest)
        scale = 1.0 / powers.sum(-1, keepdims=True)
        weights = _dropped(powers * scale, own[5], rate).astype(v.dtype)
        return _tokens(_product("nqk,nkd->nqd", weights, v).astype(v.dtype)), (highest, scale)

    context, sums = jax.lax.map(row, (query, key, value, pieces, seen, seeds))
    return context, (query, key, value, pieces, seen, seeds, context, sums)


def _backward(width, rate, saved, cotangent):
    def row(own):
        q, k, v, context, given = (_heads(each, width) for each in own[:5])
        pieces, seen, seeds, (highest, scale) = own[5:]
        probs = jnp.exp(_scores(q, k, pieces, seen) - highest) * scale
        weights = _dropped(probs, seeds, rate)
        to_value = _transposed(_product("nqd,nqk->ndk", given, weights.astype(v.dtype)))
        to_weights = _product("nqd,nkd->nqk", given, v)
        # The softmax's own sum over keys, which is the context's product with its cotangent.
        total = (given.astype(jnp.float32) * context.astype(jnp.float32)).sum(-1, keepdims=True)
        to_scores = jnp.where(_visible(pieces, seen), weights * to_weights - probs * total, 0.0).astype(q.dtype)
        to_query = _product("nqk,nkd->nqd", to_scores, k) * width**-0.5
        to_key = _transposed(_product("nqd,nqk->ndk", q, to_scores)) * width**-0.5
        return tuple(_tokens(each.astype(q.dtype)) for each in (to_query, to_key, to_value))

    *arrays, pieces, seen, seeds, context, sums = saved
    gradients = jax.lax.map(row, (*arrays, context, cotangent, pieces, seen, seeds, sums))
    return (*gradients, None, None, None)


_attention.defvjp(_forward, _backward)


def _scores(query, key, pieces, seen):
    """One example's masked scores [N, S, S] float32."""
    products = _product("nqd,nkd->nqk", query, key)
    return jnp.where(_visible(pieces, seen), products * query.shape[2] ** -0.5, MASKED)


def _visible(pieces, seen):
    """True for the keys that a query sees, [S, S], of two rows [1, S]."""
    return (pieces == pieces.T) & (seen > 0)


def _dropped(probs, seeds, rate):
    """Probabilities [N, S, S], some of them zeroed and the others larger, by seeds [N, 2]."""
    return jnp.where(kept(seeds, probs.shape, rate), probs * (1.0 / (1.0 - rate)), 0.0) if rate else probs


def _heads(tokens, width):
    """[S, N D] -> [N, S, D]."""
    return tokens.reshape(len(tokens), -1, width).swapaxes(0, 1)


def _tokens(heads):
    """[N, S, D] -> [S, N D]."""
    return heads.swapaxes(0, 1).reshape(heads.shape[1], -1)


def _transposed(product):
    """[N, D, S] -> [N, S, D]; without the barrier the compiler would turn the product itself round again."""
    return jax.lax.optimization_barrier(product).swapaxes(1, 2)


def _product(axes, left, right):
    return jnp.einsum(axes, left, right, preferred_element_type=jnp.float32)
