"""Losses of labels: cross-entropy of a text's or a token's class, squared error of a text's number."""

import jax
import jax.numpy as jnp

from mobilebert_jax.objectives.cross_entropy import cross_entropy
from mobilebert_jax.utils.types import Array, Batch


def label_counts(batch: Batch) -> dict[str, jax.Array]:
    """{"classification": B, "accuracy": B} for int labels, {"regression": B} for float ones.

    Of tokens, [B, S], those count whose label is not below 0.
    """
    labels = batch["labels"]
    count = jnp.float32(labels.shape[0]) if labels.ndim == 1 else jnp.sum(labels >= 0).astype(jnp.float32)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return {"regression": count}
    return {"classification": count, "accuracy": count}


def label_sums(logits: Array, labels: Array) -> dict[str, jax.Array]:
    """The sums that belong to `label_counts`, float32 scalars: logits [B, C] and labels [B]; C is 1 for numbers.

    Of tokens: logits [B, S, C] and labels [B, S].
    """
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return {"regression": jnp.sum(jnp.square(logits[:, 0].astype(jnp.float32) - labels))}
    correct = jnp.sum((jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32))
    if labels.ndim == 1:
        return {"classification": jnp.sum(cross_entropy(logits, labels)), "accuracy": correct}
    losses = cross_entropy(logits, jnp.maximum(labels, 0))
    return {"classification": jnp.sum(jnp.where(labels >= 0, losses, 0.0)), "accuracy": correct}
