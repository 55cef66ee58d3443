"""Losses of a whole sequence's label: cross-entropy of its class, squared error of its number."""

import jax
import jax.numpy as jnp

from mobilebert_jax.objectives.cross_entropy import cross_entropy
from mobilebert_jax.utils.types import Array, Batch


def label_counts(batch: Batch) -> dict[str, jax.Array]:
    """{"classification": B, "accuracy": B} for int labels, {"regression": B} for float ones."""
    labels = batch["labels"]
    count = jnp.float32(labels.shape[0])
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return {"regression": count}
    return {"classification": count, "accuracy": count}


def label_sums(logits: Array, labels: Array) -> dict[str, jax.Array]:
    """The sums that belong to `label_counts`, float32 scalars: logits [B, C] and labels [B]; C is 1 for numbers."""
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return {"regression": jnp.sum(jnp.square(logits[:, 0].astype(jnp.float32) - labels))}
    correct = jnp.sum((jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32))
    return {"classification": jnp.sum(cross_entropy(logits, labels)), "accuracy": correct}
