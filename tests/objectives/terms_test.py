"""Sums, counts and coefficients become one loss, the same however the batch is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.objectives.pretraining import masked_lm_sum, next_sentence_sum, pretraining_counts
from mobilebert_jax.objectives.terms import active_coefficients, term_mean, weighted_total
from mobilebert_jax.objectives.transfer import hidden_sums, transfer_counts


def test_total_is_the_weighted_sum_of_means():
    total = weighted_total({"a": 6.0, "b": 10.0}, {"a": 3.0, "b": 4.0}, {"a": 0.5, "b": 2.0})
    assert total == 0.5 * 2 + 2 * 2.5 and total.dtype == jnp.float32


def test_per_layer_sums_meet_per_layer_weights():
    sums, weights = np.array([2.0, 4.0, 8.0], np.float32), np.array([1.0, 0.0, 0.5], np.float32)
    assert weighted_total({"hidden": sums}, {"hidden": 2.0}, {"hidden": weights}) == 1 + 2
    assert weighted_total({"hidden": sums}, {"hidden": 2.0}, {"hidden": 3.0}) == 3 * 7


def test_terms_without_anything_to_count_are_zero_with_a_zero_gradient():
    def total(value):
        return weighted_total({"a": value, "b": value}, {"a": 0.0, "b": 2.0}, {"a": 1.0, "b": 1.0})

    value, gradient = jax.value_and_grad(total)(5.0)
    assert value == 2.5 and gradient == 0.5
    assert term_mean(7.0, 0.0) == 0


def test_terms_switched_off_may_be_missing():
    assert weighted_total({"a": 1.0}, {"a": 1.0}, {"a": 1.0, "b": 0, "c": np.zeros(3)}) == 1
    assert set(active_coefficients({"a": 1.0, "b": 0.0, "c": np.zeros(3), "d": np.array([0, 1])})) == {"a", "d"}


def test_a_traced_zero_stays_active_and_hides_whatever_the_sum_holds():
    names = []

    @jax.jit
    def total(coefficient):
        names.extend(active_coefficients({"a": coefficient}))
        return weighted_total({"a": np.array([np.nan, 3.0])}, {"a": 1.0}, {"a": coefficient})

    assert total(np.array([0.0, 2.0])) == 6
    assert names == ["a"]


def test_a_coefficient_without_its_sum_is_refused_by_name():
    with pytest.raises(ValueError, match="'attention' has a coefficient but no sum"):
        weighted_total({"hidden": 1.0}, {"hidden": 1.0, "attention": 1.0}, {"attention": 1.0})


def test_one_accumulation_step_equals_four_with_uneven_masks():
    rng = np.random.default_rng(0)
    B, S, H, P, V = 8, 6, 12, 3, 9
    lengths = np.array([0, 6, 1, 2, 6, 3, 5, 4])
    batch = {
        "attention_mask": (np.arange(S) < lengths[:, None]).astype(np.int32),
        "masked_ids": rng.integers(0, V, (B, P)),
        "masked_weights": (np.arange(P) < rng.integers(0, P + 1, (B, 1))).astype(np.float32),
        "next_sentence_labels": rng.integers(0, 2, B),
    }
    outputs = {
        "teacher": np.float32(rng.standard_normal((B, S, H))),
        "student": np.float32(rng.standard_normal((B, S, H))),
        "logits": np.float32(rng.standard_normal((B, P, V))),
        "pair": np.float32(rng.standard_normal((B, 2))),
    }
    counts = transfer_counts(batch["attention_mask"], 1) | pretraining_counts(batch)
    coefficients = {"hidden": 3.0, "mean": 5.0, "variance": 0.5, "masked_lm": 1.0, "next_sentence": 2.0}

    def loss(outputs, batch):
        sums = hidden_sums(outputs["teacher"], outputs["student"], batch["attention_mask"])
        sums["masked_lm"] = masked_lm_sum(outputs["logits"], batch["masked_ids"], batch["masked_weights"])
        sums["next_sentence"] = next_sentence_sum(outputs["pair"], batch["next_sentence_labels"])
        return weighted_total(sums, counts, coefficients)

    step = jax.jit(jax.value_and_grad(loss))
    value, gradient = step(outputs, batch)
    parts = [
        step(*jax.tree.map(lambda leaf, cut=cut: leaf[cut], (outputs, batch)))
        for cut in (slice(start, start + 2) for start in range(0, B, 2))
    ]
    np.testing.assert_allclose(sum(part for part, _ in parts), value, rtol=1e-6)
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(part for _, part in parts))
    jax.tree.map(lambda ours, whole: np.testing.assert_allclose(ours, whole, rtol=1e-6, atol=1e-9), joined, gradient)
