"""LAMB and AdamW against plain float64 numpy, layer by layer, and against Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mobilebert_jax.optim.masks import decays
from mobilebert_jax.optim.optimizer import OptimizerConfig, apply_updates, global_norm, make_optimizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import is_stacked, named_leaves

L, STEPS, RATE = 4, 4, 0.01


def make_tree(seed):
    """Stacked and other leaves; layers of very different scales, one parameter of zeros."""
    rng = np.random.default_rng(seed)
    scales = 10.0 ** np.arange(-2, L - 2)

    def normal(*shape):
        return rng.standard_normal(shape)

    return jax.tree.map(
        np.float32,
        {
            "encoder": {
                "embeddings": {"word_embeddings": {"embedding": normal(7, 6)}, "norm": {"scale": normal(6)}},
                "layers": {
                    "query": {"kernel": normal(L, 6, 5) * scales[:, None, None], "bias": normal(L, 5)},
                    "ffn_0": {"norm": {"scale": normal(L, 5) * scales[:, None]}, "kernel": normal(L, 5, 6)},
                },
            },
            "masked_lm": {"output_bias": normal(7), "extra": np.zeros((3, 2)) if seed == 0 else normal(3, 2)},
        },
    )


def unstacked(tree):
    """{name or name/layer: float64 array}: every layer slice a parameter of its own."""
    flat = {}
    for name, leaf in named_leaves(tree).items():
        leaf = np.asarray(leaf, np.float64)
        flat |= {f"{name}/{i}": part for i, part in enumerate(leaf)} if is_stacked(name) else {name: leaf}
    return flat


def plain_step(config, params, grads, slots, count):
    """One step of the textbook optimizer over unstacked float64 parameters; returns new parameters."""
    norm = np.sqrt(sum((grad**2).sum() for grad in grads.values()))
    factor = min(1.0, config.clip_norm / norm) if config.clip_norm else 1.0
    new = {}
    for name, param in params.items():
        m, v = slots.get(name, (0.0, 0.0))
        grad = grads[name] * factor
        m, v = config.b1 * m + (1 - config.b1) * grad, config.b2 * v + (1 - config.b2) * grad**2
        slots[name] = m, v
        if config.bias_correction:
            m, v = m / (1 - config.b1**count), v / (1 - config.b2**count)
        update = m / (np.sqrt(v) + config.eps)
        if decays(name.rstrip("/0123456789")):
            update = update + config.weight_decay * param
            norms = np.linalg.norm(param), np.linalg.norm(update)
            if config.name == "lamb" and all(norms):
                update = update * norms[0] / norms[1]
        new[name] = param - RATE * update
    return new


def assert_trees_close(ours, plain, rtol=1e-5):
    for name, leaf in unstacked(ours).items():
        np.testing.assert_allclose(leaf, plain[name], rtol=rtol, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("name", ["lamb", "adamw"])
@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_stacked_training_equals_numpy_layer_by_layer(name, bias_correction, clip_norm):
    config = OptimizerConfig(name=name, bias_correction=bias_correction, clip_norm=clip_norm)
    optimizer = make_optimizer(config)
    params = make_tree(0)
    plain, slots = unstacked(params), {}
    state = optimizer.init(params)
    step = jax.jit(lambda p, g, s: optimizer.update(g, s, p, learning_rate=RATE))
    for count in range(1, STEPS + 1):
        grads = make_tree(count)
        updates, state = step(params, grads, state)
        params = apply_updates(params, updates)
        plain = plain_step(config, plain, unstacked(grads), slots, count)
    assert_trees_close(params, plain)


@pytest.mark.parametrize("name", ["lamb", "adamw"])
def test_unstacked_parameters_with_bias_correction_equal_optax(name):
    params = {"query": {"kernel": make_tree(0)["encoder"]["layers"]["query"]["kernel"][2]}}
    theirs = {"lamb": optax.lamb, "adamw": optax.adamw}[name](RATE, eps=1e-6, weight_decay=0.01)
    ours = make_optimizer(OptimizerConfig(name=name, bias_correction=True, clip_norm=0.0))
    state, their_state, their_params = ours.init(params), theirs.init(params), params
    for seed in range(1, STEPS + 1):
        grads = {"query": {"kernel": make_tree(seed)["encoder"]["layers"]["query"]["kernel"][0]}}
        updates, state = ours.update(grads, state, params, learning_rate=RATE)
        params = apply_updates(params, updates)
        updates, their_state = theirs.update(grads, their_state, their_params)
        their_params = optax.apply_updates(their_params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), params, their_params)


def test_a_block_cut_out_of_the_stack_trains_as_it_would_in_it():
    optimizer = make_optimizer(OptimizerConfig(clip_norm=0.0))
    stack, grads = make_tree(0)["encoder"], make_tree(1)["encoder"]
    block, block_grads = (jax.tree.map(lambda leaf: leaf[2], tree["layers"]) for tree in (stack, grads))
    whole, _ = optimizer.update(grads, optimizer.init(stack), stack, learning_rate=RATE)
    state = optimizer.init(block)
    alone, _ = optimizer.update(block_grads, state, block, learning_rate=RATE)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[2], rtol=1e-6), alone, whole["layers"])
    slots = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert slots == 2 * sum(leaf.size for leaf in jax.tree.leaves(block))


def test_norms_and_biases_are_neither_decayed_nor_scaled_by_their_size():
    optimizer = make_optimizer(OptimizerConfig(clip_norm=0.0))
    grads = make_tree(1)

    def updates_of(params):
        return unstacked(optimizer.update(grads, optimizer.init(params), params, learning_rate=RATE)[0])

    small, large = updates_of(make_tree(0)), updates_of(jax.tree.map(lambda leaf: leaf * 100, make_tree(0)))
    for name in small:
        unchanged = np.array_equal(small[name], large[name])
        assert unchanged == (name.startswith("masked_lm/extra") or not decays(name.rstrip("/0123456789"))), name


def test_global_norm_counts_trained_slices_only():
    tree = {"layers": {"kernel": np.float32([[3.0, 4.0], [np.nan, 1.0]])}, "head": np.float32([12.0])}
    multipliers = {"layers": {"kernel": np.float32([0.5, 0.0])}, "head": np.float32(1.0)}
    assert global_norm(tree, multipliers) == 13
    assert np.isnan(global_norm(tree))


@pytest.mark.parametrize(("clip_frozen", "norm"), [(False, 5.0), (True, 13.0)])
def test_clipping_is_over_the_trained_parameters_and_with_tf1_over_all(clip_frozen, norm):
    params = {"layers": {"kernel": np.ones((3, 2), np.float32)}, "head": {"bias": np.ones(1, np.float32)}}
    grads = {"layers": {"kernel": np.float32([[3, 4], [12, 0], [np.inf, 0]])}, "head": {"bias": np.float32([0])}}
    multipliers = {"layers": {"kernel": np.float32([1, 0, 0])}, "head": {"bias": np.float32(1)}}
    # b1 = 0 makes the first moment the clipped gradient itself.
    optimizer = make_optimizer(OptimizerConfig(name="adamw", b1=0.0, clip_norm=2.0, clip_frozen=clip_frozen))
    _, state = optimizer.update(grads, optimizer.init(params), params, learning_rate=RATE, multipliers=multipliers)
    mu = optax.tree.get(state, "mu")["layers"]["kernel"]
    np.testing.assert_allclose(mu[0], np.array([3, 4]) * 2 / norm, rtol=1e-6)
    assert not mu[1:].any()


def test_gradients_below_the_clipping_norm_are_left_alone():
    params = {"kernel": np.ones(2, np.float32)}
    optimizer = make_optimizer(OptimizerConfig(b1=0.0))
    _, state = optimizer.update({"kernel": np.float32([0.3, 0.4])}, optimizer.init(params), params, learning_rate=RATE)
    np.testing.assert_array_equal(optax.tree.get(state, "mu")["kernel"], np.float32([0.3, 0.4]))


def test_a_non_finite_trained_gradient_is_not_hidden():
    params = {"kernel": np.ones(2, np.float32)}
    optimizer = make_optimizer(OptimizerConfig())
    updates, _ = optimizer.update(
        {"kernel": np.float32([np.nan, 1])}, optimizer.init(params), params, learning_rate=1.0
    )
    assert np.isnan(updates["kernel"]).any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "sgd"),
        ("b1", 1.0),
        ("b2", -0.1),
        ("eps", 0.0),
        ("weight_decay", -1.0),
        ("clip_norm", float("nan")),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(field, value):
    with pytest.raises(UserError, match=rf"optimizer\.{field}=.*right is"):
        OptimizerConfig(**{field: value})


def test_state_is_float32_in_the_parameters_shapes():
    params = jax.tree.map(jnp.asarray, make_tree(0))
    for bias_correction in (False, True):
        state = make_optimizer(OptimizerConfig(bias_correction=bias_correction)).init(params)
        for slot in ("mu", "nu"):
            shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), optax.tree.get(state, slot))
            assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params)
