"""Masked language model, distillation and next sentence: sums over the batch, and their counts.

Losses as in BERT's run_pretraining.py; distillation is the paper's L_KD, a cross-entropy under the teacher's softmax
at temperature 1. `alpha * masked_lm + (1 - alpha) * distillation` equals the original's mixed targets.
"""

import jax
import jax.numpy as jnp
import optax

from mobilebert_jax.objectives.cross_entropy import cross_entropy
from mobilebert_jax.utils.types import Array, Batch

# The original divides by sum(weights) + 1e-5.
TF1_COUNT_EPSILON = 1e-5


def pretraining_counts(batch: Batch, *, tf1_compat: bool = False) -> dict[str, jax.Array]:
    """What each pretraining term is divided by, from the whole global batch. Float32 scalars.

    "masked_lm" and "distillation": the masked weights' sum (with `tf1_compat` plus 1e-5). "next_sentence": examples,
    where they have labels.
    """
    predictions = jnp.sum(batch["masked_weights"], dtype=jnp.float32)
    if tf1_compat:
        predictions = predictions + TF1_COUNT_EPSILON
    counts = {"masked_lm": predictions, "distillation": predictions}
    if "next_sentence_labels" in batch:
        counts["next_sentence"] = jnp.float32(batch["next_sentence_labels"].shape[0])
    return counts


def masked_lm_sum(logits: Array, masked_ids: Array, masked_weights: Array) -> jax.Array:
    """Weighted cross-entropy with the original tokens, a float32 scalar.

    logits [B, P, V], masked_ids [B, P] int, masked_weights [B, P]; a position of weight 0 is unused.
    """
    return _weighted_sum(cross_entropy(logits, masked_ids), masked_weights)


def distillation_sum(student_logits: Array, teacher_logits: Array, masked_weights: Array) -> jax.Array:
    """Weighted cross-entropy under the teacher's softmax, a float32 scalar; no gradient reaches the teacher.

    Both logits [B, P, V], masked_weights [B, P].
    """
    teacher_probs = jax.nn.softmax(jax.lax.stop_gradient(teacher_logits).astype(jnp.float32))
    losses = optax.softmax_cross_entropy(student_logits.astype(jnp.float32), teacher_probs)
    return _weighted_sum(losses, masked_weights)


def next_sentence_sum(logits: Array, labels: Array) -> jax.Array:
    """Cross-entropy summed over examples, a float32 scalar. logits [B, 2], labels [B] int (0 next, 1 random)."""
    return jnp.sum(cross_entropy(logits, labels))


def masked_lm_correct(logits: Array, masked_ids: Array, masked_weights: Array) -> jax.Array:
    """Weight of the positions whose most probable token is the original one; divide by the "masked_lm" count."""
    return _weighted_sum((jnp.argmax(logits, axis=-1) == masked_ids).astype(jnp.float32), masked_weights)


def next_sentence_correct(logits: Array, labels: Array) -> jax.Array:
    """Number of examples whose more probable class is the label; divide by the "next_sentence" count."""
    return jnp.sum(jnp.argmax(logits, axis=-1) == labels, dtype=jnp.float32)


def _weighted_sum(values: Array, weights: Array) -> jax.Array:
    return jnp.sum(jnp.where(weights > 0, weights * values, 0.0), dtype=jnp.float32)
