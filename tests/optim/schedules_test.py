"""Learning rates at the original's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.optim.schedules import background, polynomial

DISTILL = {"peak": 0.0015, "warmup_steps": 10_000, "total_steps": 500_000, "end_ratio": 1e-4}


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (1, 1.5e-7),
        (5_000, 7.5e-4),
        (9_999, 0.0015 * 0.9999),
        (10_000, 0.0015 * (0.98 + 0.02 * 1e-4)),  # the decay line counts from step 0
        (250_000, 0.0015 * (0.5 + 0.5e-4)),
        (500_000, 1.5e-7),
        (600_000, 1.5e-7),
    ],
)
def test_polynomial_has_the_distillation_rates(step, rate):
    np.testing.assert_allclose(polynomial(step, **DISTILL), rate, rtol=1e-6, atol=0)


def test_polynomial_is_constant_with_end_ratio_one_and_no_warm_up():
    rates = [
        polynomial(step, peak=0.0015, warmup_steps=0, total_steps=100, end_ratio=1.0) for step in (0, 50, 100, 200)
    ]
    assert rates == [np.float32(0.0015)] * 4


def test_polynomial_survives_an_empty_run():
    assert np.isfinite(polynomial(0, peak=1.0, warmup_steps=0, total_steps=0, end_ratio=0.0))


def test_background_has_the_originals_numbers():
    np.testing.assert_allclose(background(995, 10_000), 0.9949, atol=5e-5)
    np.testing.assert_allclose(0.0015 * 3 * background(995, 10_000), 4.48e-3, atol=5e-6)
    np.testing.assert_allclose(background(500, 10_000), 0.5, rtol=1e-6)
    np.testing.assert_allclose(background(7_500, 10_000), 0.95, rtol=1e-6)
    assert background(0, 10_000) == 0


def test_background_peaks_at_step_995_of_10000():
    values = jax.vmap(lambda step: background(step, 10_000))(jnp.arange(10_000))
    assert jnp.argmax(values) == 995
    np.testing.assert_allclose(values.max(), min(0.995, 0.9 + 0.1 * 0.9005**0.5), rtol=1e-6)


def test_background_stays_in_range_outside_its_stage():
    np.testing.assert_allclose([background(20, 10), background(10, 10)], 0.9, rtol=1e-6)
    assert np.isfinite(background(0, 0))


def test_schedules_take_a_traced_step_and_give_float32():
    for schedule in (lambda step: polynomial(step, **DISTILL), lambda step: background(step, 10_000)):
        eager, traced = schedule(1_234), jax.jit(schedule)(jnp.int32(1_234))
        assert traced.dtype == jnp.float32 and traced.shape == ()
        np.testing.assert_allclose(traced, eager, rtol=1e-6)
