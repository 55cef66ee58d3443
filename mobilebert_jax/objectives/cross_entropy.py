"""Cross-entropy with integer labels, without a one-hot array and safe for logits of any size."""

import jax
import jax.numpy as jnp

from mobilebert_jax.utils.types import Array


def cross_entropy(logits: Array, labels: Array) -> jax.Array:
    """`-log softmax(logits)[label]` over the last axis, float32: logits [..., V] and labels [...] int to [...].

    The largest logit is taken away before anything is compared: raw logits of NoNorm models reach 1e7, where float32
    has no digits left behind the point. A label outside [0, V) gives NaN.
    """
    logits = logits.astype(jnp.float32)
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    normaliser = jnp.log(jnp.sum(jnp.exp(logits - largest), axis=-1))
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1) - largest
    return normaliser - picked[..., 0]
