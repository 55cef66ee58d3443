"""Knowledge transfer between one teacher block and one student block: feature maps, their statistics, attention.

The paper's section 3.4 (feature map and attention transfer) with the reductions of the original TF1 code, except that
padding is left out. `tf1_compat` puts it back: the original averages over every position, padding included.
"""

import jax
import jax.numpy as jnp
import optax

from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, BlockOutput

# TF1's contrib layer norm in float32.
EPSILON = 1e-12


def transfer_counts(attention_mask: Array, num_heads: int, *, tf1_compat: bool = False) -> dict[str, jax.Array]:
    """What each transfer term is divided by, from the whole global batch's attention_mask [B, S].

    "hidden", "mean" and "variance" count real tokens; "attention" counts real query positions of every head. With
    `tf1_compat` padding counts too. Float32 scalars; 0 for a batch of nothing but padding (`terms.term_mean` guards).
    """
    tokens = jnp.sum(_counted(attention_mask, tf1_compat), dtype=jnp.int32).astype(jnp.float32)
    return {"hidden": tokens, "mean": tokens, "variance": tokens, "attention": num_heads * tokens}


def feature_statistics(hidden: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Layer norm without affine parameters, and what it divides out.

    From hidden [B, S, H] to normalised [B, S, H], mean [B, S] and population variance [B, S], all float32. Centred
    twice: around 1e7 the first mean is off by a unit in its last place, which is as large as many features' spread.
    """
    hidden = hidden.astype(jnp.float32)
    mean = jnp.mean(hidden, axis=-1, keepdims=True)
    centred = hidden - mean
    correction = jnp.mean(centred, axis=-1, keepdims=True)
    centred = centred - correction
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    normalised = centred * jax.lax.rsqrt(variance + EPSILON)
    return normalised, (mean + correction)[..., 0], variance[..., 0]


def hidden_sums(
    teacher_hidden: Array,
    student_hidden: Array,
    attention_mask: Array,
    *,
    teacher_statistics: tuple[Array, Array] | None = None,
    tf1_compat: bool = False,
) -> dict[str, jax.Array]:
    """Feature map transfer: sums over real tokens, from two block outputs [B, S, H] and attention_mask [B, S].

    "hidden": mean over features of the squared difference of the normalised features. "mean": squared difference of
    the feature means. "variance": absolute difference of the feature variances. Float32 scalars.

    `teacher_statistics`: means [K, B, S] and variances [K, B, S] of K teacher layers; the student's statistics are
    then compared with each of them and averaged over K. That is the original TF1 code (K = all blocks and the
    embeddings); by default the paired layer's own statistics are used. Raises UserError when the shapes differ.
    """
    _require_same_shape("hidden states", teacher_hidden, student_hidden)
    counted = _counted(attention_mask, tf1_compat)
    teacher_normalised, *own_statistics = feature_statistics(_select_tokens(teacher_hidden, counted))
    student_normalised, student_mean, student_variance = feature_statistics(_select_tokens(student_hidden, counted))
    teacher_mean, teacher_variance = own_statistics if teacher_statistics is None else teacher_statistics
    per_token = {
        "hidden": jnp.mean(jnp.square(jax.lax.stop_gradient(teacher_normalised) - student_normalised), axis=-1),
        "mean": jnp.square(jax.lax.stop_gradient(teacher_mean) - student_mean),
        "variance": jnp.abs(jax.lax.stop_gradient(teacher_variance) - student_variance),
    }
    if teacher_statistics is not None:
        per_token |= {name: jnp.mean(per_token[name], axis=0) for name in ("mean", "variance")}
    return {name: jnp.sum(jnp.where(counted, values, 0.0)) for name, values in per_token.items()}


def attention_sum(
    teacher_scores: Array, student_scores: Array, attention_mask: Array, *, tf1_compat: bool = False
) -> jax.Array:
    """Attention transfer: cross-entropy of the student's attention under the teacher's, a float32 scalar.

    Both scores are [B, N, S (queries), S (keys)], before the softmax, pad keys at a very negative finite value;
    attention_mask [B, S]. Summed over examples, heads and real queries; padding is left out as key and as query, and
    its gradient is exactly 0. Cross-entropy and not KL, as in the original: the gradient is the same, the floor is the
    teacher's entropy. Raises UserError when the shapes differ.
    """
    _require_same_shape("attention scores", teacher_scores, student_scores)
    counted = _counted(attention_mask, tf1_compat)
    pairs = counted[:, None, :, None] & counted[:, None, None, :]
    masked = jnp.finfo(jnp.float32).min
    teacher_probs = jax.nn.softmax(jnp.where(pairs, jax.lax.stop_gradient(teacher_scores).astype(jnp.float32), masked))
    student_logits = jnp.where(pairs, student_scores.astype(jnp.float32), masked)
    per_query = optax.softmax_cross_entropy(student_logits, teacher_probs)
    return jnp.sum(jnp.where(counted[:, None, :], per_query, 0.0))


def transfer_sums(
    teacher: BlockOutput,
    student: BlockOutput,
    attention_mask: Array,
    *,
    teacher_statistics: tuple[Array, Array] | None = None,
    tf1_compat: bool = False,
) -> dict[str, jax.Array]:
    """All transfer terms of one pair of blocks; "attention" only where both outputs carry their scores."""
    sums = hidden_sums(
        teacher.hidden,
        student.hidden,
        attention_mask,
        teacher_statistics=teacher_statistics,
        tf1_compat=tf1_compat,
    )
    if teacher.attention_scores is not None and student.attention_scores is not None:
        sums["attention"] = attention_sum(
            teacher.attention_scores, student.attention_scores, attention_mask, tf1_compat=tf1_compat
        )
    return sums


def _counted(attention_mask: Array, tf1_compat: bool) -> jax.Array:
    """[B, S] bool: which positions take part."""
    return jnp.ones(attention_mask.shape, bool) if tf1_compat else jnp.asarray(attention_mask) > 0


def _select_tokens(hidden: Array, counted: Array) -> jax.Array:
    """`hidden` with 0 at positions that do not count, so that not even a NaN there reaches a sum or a gradient."""
    return jnp.where(counted[..., None], hidden, 0.0)


def _require_same_shape(what: str, teacher: Array, student: Array) -> None:
    if teacher.shape != student.shape:
        raise UserError(
            f"{what} of teacher {list(teacher.shape)} and student {list(student.shape)} differ: "
            "transfer needs the same hidden size and number of heads in both models"
        )
