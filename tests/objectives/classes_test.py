import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from mobilebert_jax.objectives.classes import label_counts, label_sums


def test_classes_are_cross_entropy_and_correct_ones():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 3)).astype(np.float32), np.array([0, 2, 1, 1, 0, 2], np.int32)
    sums = label_sums(jnp.asarray(logits), jnp.asarray(labels))
    expected = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(6), labels].sum()
    assert float(sums["classification"]) == pytest.approx(expected, rel=1e-6)
    assert float(sums["accuracy"]) == (logits.argmax(axis=1) == labels).sum()
    assert jax.tree.map(float, label_counts({"labels": labels})) == {"classification": 6.0, "accuracy": 6.0}


def test_numbers_are_squared_errors():
    labels = np.array([0.0, 2.5, -1.0], np.float32)
    sums = label_sums(jnp.array([[1.0], [2.0], [-1.0]]), jnp.asarray(labels))
    assert jax.tree.map(float, sums) == {"regression": 1.25}
    assert jax.tree.map(float, label_counts({"labels": labels})) == {"regression": 3.0}
