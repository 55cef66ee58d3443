"""Answer spans: cross-entropy of the start and of the end token, as in BERT's run_squad.py."""

import jax
import jax.numpy as jnp

from mobilebert_jax.objectives.cross_entropy import cross_entropy
from mobilebert_jax.utils.types import Array, Batch


def span_counts(batch: Batch) -> dict[str, jax.Array]:
    """{"span": 2 B}: every example adds a start and an end, so the mean is the average of the two losses."""
    return {"span": jnp.float32(2 * batch["start_positions"].shape[0])}


def span_sum(start_logits: Array, end_logits: Array, batch: Batch) -> jax.Array:
    """Start plus end cross-entropy, summed over examples, a float32 scalar.

    start_logits and end_logits [B, S]; the softmax runs over all S positions, padding included, as in the original.
    """
    starts = cross_entropy(start_logits, batch["start_positions"])
    ends = cross_entropy(end_logits, batch["end_positions"])
    return jnp.sum(starts + ends)
