"""Knowledge-transfer losses against plain float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.objectives.transfer import (
    attention_sum,
    feature_statistics,
    hidden_sums,
    transfer_counts,
    transfer_sums,
)
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import BlockOutput

B, S, H, N = 3, 5, 16, 2
MASKED = np.finfo(np.float32).min


def plain_statistics(hidden):
    hidden = np.asarray(hidden, np.float64)
    mean, variance = hidden.mean(-1), hidden.var(-1)
    return (hidden - mean[..., None]) / np.sqrt(variance[..., None] + 1e-12), mean, variance


def plain_hidden(teacher, student, counted, teacher_statistics=None):
    t, t_mean, t_variance = plain_statistics(teacher)
    s, s_mean, s_variance = plain_statistics(student)
    if teacher_statistics is None:
        teacher_statistics = t_mean[None], t_variance[None]
    means, variances = (np.asarray(values, np.float64) for values in teacher_statistics)
    return {
        "hidden": (((t - s) ** 2).mean(-1))[counted].sum(),
        "mean": (((means - s_mean) ** 2).mean(0))[counted].sum(),
        "variance": (np.abs(variances - s_variance).mean(0))[counted].sum(),
    }


def plain_attention(teacher, student, counted):
    total = 0.0
    for b, h, q in np.ndindex(teacher.shape[:3]):
        if not counted[b, q]:
            continue
        t, s = (np.asarray(scores[b, h, q], np.float64)[counted[b]] for scores in (teacher, student))
        t, s = t - t.max(), s - s.max()
        total -= (np.exp(t) / np.exp(t).sum() * (s - np.log(np.exp(s).sum()))).sum()
    return total


def masks():
    """Uneven masks of [B, S]; a row may be all padding."""
    return st.lists(st.integers(0, S), min_size=B, max_size=B).map(
        lambda lengths: (np.arange(S) < np.array(lengths)[:, None]).astype(np.int32)
    )


def scores_of(rng, mask, scale=1.0):
    scores = (rng.standard_normal((B, N, S, S)) * scale).astype(np.float32)
    return np.where(mask[:, None, None, :] > 0, scores, MASKED)


jit_hidden = jax.jit(hidden_sums, static_argnames="tf1_compat")
jit_attention = jax.jit(attention_sum, static_argnames="tf1_compat")


@settings(max_examples=30, deadline=None)
@given(masks(), st.integers(0, 99), st.sampled_from([1e-2, 1.0, 1e3, 1e7]), st.booleans())
def test_hidden_sums_equal_numpy(mask, seed, scale, tf1_compat):
    rng = np.random.default_rng(seed)
    offset = rng.standard_normal((B, S, 1)) * scale
    teacher, student = (rng.standard_normal((2, B, S, H)) * scale + offset).astype(np.float32)
    sums = jit_hidden(teacher, student, mask, tf1_compat=tf1_compat)
    expected = plain_hidden(teacher, student, np.ones_like(mask, bool) if tf1_compat else mask > 0)
    for name, value in expected.items():
        np.testing.assert_allclose(sums[name], value, rtol=2e-5, err_msg=name)


@settings(max_examples=30, deadline=None)
@given(masks(), st.integers(0, 99), st.sampled_from([1e-2, 1.0, 30.0, 1e7]))
def test_attention_sum_equals_numpy(mask, seed, scale):
    rng = np.random.default_rng(seed)
    teacher, student = scores_of(rng, mask, scale), scores_of(rng, mask, scale)
    expected = plain_attention(teacher, student, mask > 0)
    np.testing.assert_allclose(jit_attention(teacher, student, mask), expected, rtol=2e-5, atol=1e-6)


def test_attention_with_tf1_compat_counts_pad_queries_and_stays_finite_without_keys():
    mask = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    rng = np.random.default_rng(0)
    teacher, student = scores_of(rng, mask), scores_of(rng, mask)
    t, s = (x - x.max(-1, keepdims=True) for x in (teacher.astype(np.float64), student.astype(np.float64)))
    probs = np.exp(t) / np.exp(t).sum(-1, keepdims=True)
    expected = -(probs * (s - np.log(np.exp(s).sum(-1, keepdims=True)))).sum()
    total, gradient = jax.value_and_grad(lambda x: jit_attention(teacher, x, mask, tf1_compat=True))(student)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert np.isfinite(gradient).all()


def test_attention_of_equal_scores_is_the_teachers_entropy_with_no_gradient():
    mask = np.ones((B, S), np.int32)
    scores = scores_of(np.random.default_rng(0), mask)
    gradient = jax.grad(lambda x: attention_sum(scores, x, mask))(scores)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_the_list_defect_compares_with_every_teacher_layer():
    rng = np.random.default_rng(1)
    teacher, student = rng.standard_normal((2, B, S, H)).astype(np.float32)
    means, variances = rng.standard_normal((2, 4, B, S)).astype(np.float32)
    mask = np.ones((B, S), np.int32)
    sums = hidden_sums(teacher, student, mask, teacher_statistics=(means, variances), tf1_compat=True)
    for name, value in plain_hidden(teacher, student, mask > 0, (means, variances)).items():
        np.testing.assert_allclose(sums[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_feature_statistics_are_stable_far_from_zero(offset):
    hidden = (np.random.default_rng(2).standard_normal((2, 3, 512)) * 100 + offset).astype(np.float32)
    for ours, plain in zip(feature_statistics(hidden), plain_statistics(hidden), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=2e-5)


def test_feature_statistics_of_constant_features_are_zero_with_a_finite_gradient():
    hidden = np.full((1, 1, H), 3.0, np.float32)
    normalised, _, variance = feature_statistics(hidden)
    assert not normalised.any() and not variance.any()
    assert np.isfinite(jax.grad(lambda x: sum(part.sum() for part in feature_statistics(x)))(hidden)).all()


@pytest.mark.parametrize("scale", [1.0, 1e7])
def test_gradients_are_finite_and_exactly_zero_at_pads_whatever_they_hold(scale):
    rng = np.random.default_rng(3)
    mask = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    real, pairs = mask > 0, (mask[:, None, :, None] & mask[:, None, None, :]) > 0
    hidden = np.where(real[..., None], rng.standard_normal((2, B, S, H)) * scale, np.nan).astype(np.float32)
    scores = np.where(pairs, rng.standard_normal((2, B, N, S, S)) * scale, np.nan).astype(np.float32)

    def total(student):
        teacher = BlockOutput(hidden[0], attention_scores=scores[0])
        return sum(transfer_sums(teacher, student, mask).values())

    value, gradient = jax.jit(jax.value_and_grad(total))(BlockOutput(hidden[1], attention_scores=scores[1]))
    assert np.isfinite(value)
    assert np.isfinite(gradient.hidden).all() and np.isfinite(gradient.attention_scores).all()
    assert not np.asarray(gradient.hidden)[~real].any()
    assert not np.asarray(gradient.attention_scores)[~np.broadcast_to(pairs, scores[0].shape)].any()
    assert np.asarray(gradient.hidden)[real].any(-1).all()


def test_a_batch_of_padding_alone_sums_and_counts_to_zero():
    mask = np.zeros((B, S), np.int32)
    rng = np.random.default_rng(4)
    outputs = [BlockOutput(x, attention_scores=scores_of(rng, mask)) for x in np.float32(rng.random((2, B, S, H)))]
    assert all(value == 0 for value in transfer_sums(*outputs, mask).values())
    assert all(value == 0 for value in transfer_counts(mask, N).values())


def test_counts_are_real_tokens_and_every_position_with_tf1_compat():
    mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.int32)
    assert transfer_counts(mask, 3) == {"hidden": 4, "mean": 4, "variance": 4, "attention": 12}
    assert transfer_counts(mask, 3, tf1_compat=True) == {"hidden": 8, "mean": 8, "variance": 8, "attention": 24}


def test_no_gradient_reaches_the_teacher():
    rng = np.random.default_rng(5)
    mask = np.ones((B, S), np.int32)
    teacher, student = (
        BlockOutput(jnp.asarray(x), attention_scores=jnp.asarray(scores_of(rng, mask)))
        for x in np.float32(rng.standard_normal((2, B, S, H)))
    )
    gradient = jax.grad(lambda x: sum(transfer_sums(x, student, mask).values()))(teacher)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_attention_is_left_out_when_scores_were_not_asked_for():
    hidden = np.ones((B, S, H), np.float32)
    assert set(transfer_sums(BlockOutput(hidden), BlockOutput(hidden), np.ones((B, S)))) == {
        "hidden",
        "mean",
        "variance",
    }


def test_shapes_that_differ_are_refused_with_both_shapes():
    with pytest.raises(UserError, match=r"teacher \[1, 2, 8\] and student \[1, 2, 16\]"):
        hidden_sums(np.ones((1, 2, 8)), np.ones((1, 2, 16)), np.ones((1, 2)))
    with pytest.raises(UserError, match="number of heads"):
        attention_sum(np.ones((1, 4, 2, 2)), np.ones((1, 1, 2, 2)), np.ones((1, 2)))
