"""Frozen slices, moments at a stage's start, and one compiled step for all stages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mobilebert_jax.optim.masks import multiplier_tree
from mobilebert_jax.optim.optimizer import OptimizerConfig, apply_updates, make_optimizer

L = 3
RULES = "layers/.*", "(?!layers/).*"
CONFIGS = [
    OptimizerConfig(),
    OptimizerConfig(bias_correction=True, clip_frozen=True),
    OptimizerConfig(name="adamw", bias_correction=True),
]


def make_params(seed=0):
    rng = np.random.default_rng(seed)
    params = {
        "layers": {"kernel": rng.standard_normal((L, 4, 3)), "norm": {"scale": rng.standard_normal((L, 3))}},
        "embeddings": {"embedding": rng.standard_normal((5, 4))},
    }
    return jax.tree.map(jnp.float32, params)


def make_step(optimizer, traces=None):
    def step(params, state, grads, layers, rest, rate, fresh):
        if traces is not None:
            traces.append(1)
        multipliers = multiplier_tree(params, [(RULES[0], layers), (RULES[1], rest)])
        updates, state = optimizer.update(
            grads, state, params, learning_rate=rate, multipliers=multipliers, fresh=fresh
        )
        return apply_updates(params, updates, multipliers), state

    return jax.jit(step, donate_argnums=(0, 1))


def bits(leaf):
    return np.asarray(leaf).view(np.uint32)


@pytest.mark.parametrize("config", CONFIGS, ids=["lamb", "lamb-tf1-clip", "adamw"])
def test_frozen_slices_are_bit_identical_with_donation_and_bad_gradients(config):
    optimizer = make_optimizer(config)
    params = make_params()
    params["layers"]["kernel"] = params["layers"]["kernel"].at[:, 0, 0].set(-0.0).at[0, 1, 1].set(jnp.nan)
    params["embeddings"]["embedding"] = params["embeddings"]["embedding"].at[0].set(-0.0)
    before = jax.tree.map(lambda leaf: np.array(leaf), params)
    state = optimizer.init(params)
    grads = make_params(1)
    grads["layers"] = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan).at[2].set(jnp.inf), grads["layers"])
    grads["embeddings"] = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), grads["embeddings"])
    donated, step = params, make_step(optimizer)
    for _ in range(3):
        params, state = step(params, state, grads, jnp.float32([0, 3, 0]), jnp.float32(0), jnp.float32(0.01), False)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(donated))
    for old, new in zip(jax.tree.leaves(before["layers"]), jax.tree.leaves(params["layers"]), strict=True):
        np.testing.assert_array_equal(bits(new)[[0, 2]], bits(old)[[0, 2]])
        assert np.isfinite(new[1]).all() and (bits(new)[1] != bits(old)[1]).any()
    np.testing.assert_array_equal(bits(params["embeddings"]["embedding"]), bits(before["embeddings"]["embedding"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("config", CONFIGS, ids=["lamb", "lamb-tf1-clip", "adamw"])
def test_a_fresh_step_equals_the_first_step_of_a_new_optimizer(config):
    optimizer, params = make_optimizer(config), make_params()
    ones = {"learning_rate": 0.01, "multipliers": multiplier_tree(params, [(".*", 1.0)])}
    _, used = optimizer.update(make_params(1), optimizer.init(params), params, **ones)
    again = optimizer.update(make_params(2), used, params, **ones, fresh=jnp.bool_(True))
    first = optimizer.update(make_params(2), optimizer.init(params), params, **ones)
    jax.tree.map(np.testing.assert_array_equal, again, first)


def test_moments_become_zero_where_the_multiplier_is_zero():
    optimizer, params = make_optimizer(OptimizerConfig(bias_correction=True)), make_params()
    _, state = optimizer.update(make_params(1), optimizer.init(params), params, learning_rate=0.01)
    gated = multiplier_tree(params, [(RULES[0], np.array([0.3, 0.0, 3.0])), (RULES[1], 0.0)])
    updates, state = optimizer.update(make_params(2), state, params, learning_rate=0.01, multipliers=gated)
    for slot in ("mu", "nu", "count"):
        slots = optax.tree.get(state, slot)
        assert not np.any(slots["embeddings"]["embedding"]) and not np.any(slots["layers"]["kernel"][1])
        assert np.all(slots["layers"]["kernel"][np.array([0, 2])])
    assert not np.any(updates["embeddings"]["embedding"]) and not np.any(updates["layers"]["kernel"][1])


def test_a_layer_that_starts_late_is_bias_corrected_from_its_own_first_step():
    optimizer, params = make_optimizer(OptimizerConfig(bias_correction=True, clip_norm=0.0)), make_params()
    state = optimizer.init(params)
    for layers in ([1.0, 0.0, 0.0], [1.0, 1.0, 0.0]):
        multipliers = multiplier_tree(params, [(RULES[0], np.array(layers)), (RULES[1], 0.0)])
        updates, state = optimizer.update(make_params(1), state, params, learning_rate=0.01, multipliers=multipliers)
    first, _ = optimizer.update(make_params(1), optimizer.init(params), params, learning_rate=0.01)
    np.testing.assert_allclose(updates["layers"]["kernel"][1], first["layers"]["kernel"][1], rtol=1e-6)


def test_multipliers_scale_the_rate_of_each_layer():
    optimizer, params, grads = make_optimizer(OptimizerConfig()), make_params(), make_params(1)
    state = optimizer.init(params)
    plain, _ = optimizer.update(grads, state, params, learning_rate=0.01)
    multipliers = multiplier_tree(params, [(RULES[0], np.array([3.0, 0.3, 1.0])), (RULES[1], 1.0)])
    scaled, _ = optimizer.update(grads, state, params, learning_rate=0.01, multipliers=multipliers)
    for layer, factor in enumerate([3.0, 0.3, 1.0]):
        np.testing.assert_allclose(
            scaled["layers"]["kernel"][layer], factor * plain["layers"]["kernel"][layer], rtol=1e-5
        )


def test_a_rate_of_zero_moves_nothing_but_still_gathers_moments():
    optimizer, params = make_optimizer(OptimizerConfig()), make_params()
    updates, state = optimizer.update(make_params(1), optimizer.init(params), params, learning_rate=0.0)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(optax.tree.get(state, "mu")))


def test_all_stages_share_one_compilation():
    optimizer, params, traces = make_optimizer(OptimizerConfig(bias_correction=True)), make_params(), []
    state, step = optimizer.init(params), make_step(optimizer, traces)
    for stage in range(L):
        for stage_step in range(2):
            layers = jnp.where(jnp.arange(L) == stage, 3.0, jnp.where(jnp.arange(L) < stage, 0.3, 0.0))
            fresh, rest = jnp.bool_(stage_step == 0), jnp.float32(stage == L - 1)
            params, state = step(params, state, make_params(stage), layers, rest, jnp.float32(0.01 * stage), fresh)
    assert len(traces) == 1 and step._cache_size() == 1
