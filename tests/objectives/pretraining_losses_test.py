"""Pretraining and span losses against plain float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.objectives.cross_entropy import cross_entropy
from mobilebert_jax.objectives.pretraining import (
    distillation_sum,
    masked_lm_correct,
    masked_lm_sum,
    next_sentence_correct,
    next_sentence_sum,
    pretraining_counts,
)
from mobilebert_jax.objectives.span import span_counts, span_sum

B, P, V = 3, 4, 11


def plain_log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def plain_cross_entropy(logits, labels):
    return -np.take_along_axis(plain_log_softmax(logits), labels[..., None], -1)[..., 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.sampled_from([1e-2, 1.0, 1e3, 1e7]), st.lists(st.integers(0, P), min_size=B, max_size=B))
def test_masked_lm_and_distillation_sums_equal_numpy(seed, scale, used):
    rng = np.random.default_rng(seed)
    student, teacher = (rng.standard_normal((2, B, P, V)) * scale).astype(np.float32)
    ids = rng.integers(0, V, (B, P))
    weights = (np.arange(P) < np.array(used)[:, None]).astype(np.float32)
    expected = (weights * plain_cross_entropy(student, ids)).sum()
    np.testing.assert_allclose(jax.jit(masked_lm_sum)(student, ids, weights), expected, rtol=1e-5, atol=1e-6)
    expected = -(weights * (np.exp(plain_log_softmax(teacher)) * plain_log_softmax(student)).sum(-1)).sum()
    np.testing.assert_allclose(jax.jit(distillation_sum)(student, teacher, weights), expected, rtol=1e-5, atol=1e-6)


def test_cross_entropy_keeps_its_digits_far_from_zero():
    logits = np.array([[1e7, 1e7 + 1, 1e7 - 2]], np.float32)
    labels = np.array([0])
    np.testing.assert_allclose(cross_entropy(logits, labels), plain_cross_entropy(logits, labels), rtol=1e-6)


def test_cross_entropy_gradient_is_softmax_minus_one_hot():
    logits = np.random.default_rng(0).standard_normal((2, V)).astype(np.float32)
    labels = np.array([3, 0])
    gradient = jax.grad(lambda x: cross_entropy(x, labels).sum())(logits)
    np.testing.assert_allclose(gradient, np.exp(plain_log_softmax(logits)) - np.eye(V)[labels], atol=1e-6)


def test_a_label_outside_the_classes_is_nan_and_not_a_quiet_number():
    assert np.isnan(cross_entropy(np.zeros((1, 3), np.float32), np.array([3]))).all()


def test_masked_lm_with_distillation_is_the_originals_mixed_target():
    rng = np.random.default_rng(1)
    student, teacher = rng.standard_normal((2, B, P, V)).astype(np.float32)
    ids, weights = rng.integers(0, V, (B, P)), np.ones((B, P), np.float32)
    target = 0.5 * np.eye(V)[ids] + 0.5 * np.exp(plain_log_softmax(teacher))
    mixed = -(target * plain_log_softmax(student)).sum()
    ours = 0.5 * masked_lm_sum(student, ids, weights) + 0.5 * distillation_sum(student, teacher, weights)
    np.testing.assert_allclose(ours, mixed, rtol=1e-5)


def test_unused_positions_add_nothing_and_get_no_gradient():
    rng = np.random.default_rng(2)
    logits, teacher = rng.standard_normal((2, B, P, V)).astype(np.float32)
    ids, weights = rng.integers(0, V, (B, P)), np.float32(np.arange(P) < 2) * np.ones((B, 1), np.float32)
    for loss in (lambda x: masked_lm_sum(x, ids, weights), lambda x: distillation_sum(x, teacher, weights)):
        gradient = np.asarray(jax.grad(loss)(logits))
        assert not gradient[:, 2:].any() and gradient[:, :2].any()


def test_no_gradient_reaches_the_teachers_logits():
    logits = np.random.default_rng(3).standard_normal((B, P, V)).astype(np.float32)
    gradient = jax.grad(lambda teacher: distillation_sum(logits, teacher, np.ones((B, P))))(jnp.asarray(logits))
    assert not np.any(gradient)


def test_bfloat16_logits_are_summed_in_float32():
    logits = jnp.asarray(np.random.default_rng(4).standard_normal((B, P, V)), jnp.bfloat16)
    ids, weights = np.zeros((B, P), np.int32), np.ones((B, P), np.float32)
    total = masked_lm_sum(logits, ids, weights)
    assert total.dtype == jnp.float32
    np.testing.assert_allclose(total, plain_cross_entropy(np.float32(logits), ids).sum(), rtol=1e-5)


def test_next_sentence_sum_and_correct_equal_numpy():
    logits = np.array([[2.0, -1.0], [1e7, 1e7 + 4], [0.5, 0.25]], np.float32)
    labels = np.array([0, 0, 1])
    np.testing.assert_allclose(next_sentence_sum(logits, labels), plain_cross_entropy(logits, labels).sum(), rtol=1e-6)
    assert next_sentence_correct(logits, labels) == 1


def test_masked_lm_correct_counts_weighted_hits_only():
    logits = np.eye(V, dtype=np.float32)[None, :P]  # position p predicts token p
    ids = np.array([[0, 1, 5, 3]])
    assert masked_lm_correct(logits, ids, np.array([[1.0, 1.0, 1.0, 0.0]])) == 2


def test_pretraining_counts_come_from_the_batch_alone():
    batch = {
        "masked_weights": np.array([[1, 1, 0], [1, 0, 0]], np.float32),
        "next_sentence_labels": np.array([0, 1]),
    }
    assert pretraining_counts(batch) == {"masked_lm": 3, "distillation": 3, "next_sentence": 2}
    compat = pretraining_counts(batch, tf1_compat=True)
    assert compat["masked_lm"] == compat["distillation"] == np.float32(3 + 1e-5) > 3
    assert compat["next_sentence"] == 2


@pytest.mark.parametrize("scale", [1.0, 1e7])
def test_span_sum_equals_numpy_over_all_positions(scale):
    rng = np.random.default_rng(5)
    starts, ends = (rng.standard_normal((2, B, 7)) * scale).astype(np.float32)
    batch = {"start_positions": np.array([0, 6, 2]), "end_positions": np.array([0, 6, 4])}
    expected = sum(
        plain_cross_entropy(logits, batch[name]).sum()
        for logits, name in ((starts, "start_positions"), (ends, "end_positions"))
    )
    np.testing.assert_allclose(span_sum(starts, ends, batch), expected, rtol=1e-6)
    assert span_counts(batch) == {"span": 2 * B}
