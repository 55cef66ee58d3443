"""Dropout is where the reference has it, and only there."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.dropout import Dropout, drop, kept
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.utils.trees import map_named
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error

IN_BOTTLENECK_MODELS = {"embeddings/dropout", "layers/bottleneck_output/dropout"}
IN_PLAIN_BERT = {"embeddings/dropout", "layers/attention_output/dropout", "layers/ffn_1/output/dropout"}


def active_dropouts(cfg, head):
    """`{place: rate}` of every dropout that does something in training."""
    model, rates = build_model(cfg, head), {}

    def record(call, args, kwargs, context):
        drops = isinstance(context.module, Dropout) and context.method_name == "__call__" and context.module.rate > 0
        if drops and not kwargs["deterministic"]:
            rates["/".join(context.module.path).removeprefix("encoder/")] = context.module.rate
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        rngs = {"dropout": jax.random.key(0)}
        params = random_params(model)
        jax.eval_shape(lambda: model.apply({"params": params}, *batch(cfg), deterministic=False, rngs=rngs))
    return rates


@pytest.mark.parametrize("head", [None, "pretraining", "qa"])
def test_the_student_drops_attention_probabilities_alone(head):
    assert active_dropouts(VARIANTS["mobilebert"], head) == {"layers/attention/dropout": 0.1}


@pytest.mark.parametrize(
    ("variant", "places"), [("mobilebert", IN_BOTTLENECK_MODELS), ("teacher", IN_BOTTLENECK_MODELS)]
)
def test_with_bottlenecks_hidden_dropout_sits_after_the_output_bottleneck(variant, places):
    cfg = VARIANTS[variant].replace(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    assert active_dropouts(cfg, None) == {"layers/attention/dropout": 0.2, **dict.fromkeys(places, 0.3)}


def test_without_bottlenecks_it_sits_after_the_attention_and_after_the_last_ffn():
    assert active_dropouts(VARIANTS["bert"], None) == {
        "layers/attention/dropout": 0.1,
        **dict.fromkeys(IN_PLAIN_BERT, 0.1),
    }


def test_classification_always_drops_a_tenth_of_the_pooled_vector():
    cfg = VARIANTS["mobilebert"].replace(attention_probs_dropout_prob=0.0)
    assert active_dropouts(cfg, "classification") == {"dropout": 0.1}


def test_outputs_differ_between_rngs_in_training_alone():
    cfg = VARIANTS["mobilebert"]
    model = MobileBert(cfg)
    params, inputs = random_params(model), batch(cfg)

    @jax.jit
    def train(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return model.apply({"params": params}, *inputs, deterministic=False, rngs=rngs).last_hidden_state

    evaluate = jax.jit(lambda: model.apply({"params": params}, *inputs).last_hidden_state)
    np.testing.assert_array_equal(train(0), train(0))
    assert relative_error(train(0), train(1)) > 1e-3
    assert relative_error(train(0), evaluate()) > 1e-3


def test_training_without_any_dropout_needs_no_rng_and_equals_evaluation():
    cfg = VARIANTS["mobilebert"].replace(attention_probs_dropout_prob=0.0)
    model = MobileBert(cfg)
    params = random_params(model)
    apply = jax.jit(
        lambda deterministic: model.apply({"params": params}, *batch(cfg), deterministic=deterministic),
        static_argnums=0,
    )
    np.testing.assert_array_equal(apply(False).last_hidden_state, apply(True).last_hidden_state)


def test_every_layer_draws_its_own_dropout_mask():
    """All weights zero but one bias of one: each block adds its mask itself to the hidden state."""
    cfg = VARIANTS["mobilebert"].replace(hidden_dropout_prob=0.5)
    model = MobileBert(cfg)

    def only_masks(name, leaf):
        return np.full(leaf.shape, float(name.endswith(("scale", "bottleneck_output/dense/bias"))), np.float32)

    params = map_named(only_masks, random_params(model))
    rngs = {"dropout": jax.random.key(0)}
    out = jax.jit(
        lambda: (
            model.apply(
                {"params": params}, *batch(cfg), deterministic=False, output_hidden_states=True, rngs=rngs
            ).hidden_states
        )
    )()
    masks = np.asarray(jnp.diff(out, axis=0))
    assert set(np.unique(masks)) == {0.0, 2.0}
    for layer in range(1, cfg.num_hidden_layers):
        assert 0.4 < (masks[layer] == masks[0]).mean() < 0.6


def seeds_of(seed, *shape):
    return jax.random.bits(jax.random.key(seed), (*shape, 2), jnp.uint32)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_what_is_kept_has_the_rate_in_every_row_and_column_and_at_every_distance(rate):
    """Bounds of five standard deviations of independent draws, over the largest of a thousand of each."""
    keep = np.asarray(kept(seeds_of(0, 1024), (1024, 1024), rate), np.float64)
    centred = (keep - (1 - rate)) / np.sqrt(rate * (1 - rate))
    bound = 5 / np.sqrt(1024)
    assert abs(centred.mean()) < 5 / 1024
    assert np.abs(centred.mean(0)).max() < bound and np.abs(centred.mean(1)).max() < bound
    for distance in (1, 2, 3, 4, 7, 8, 16, 31, 64, 128, 384, 512):
        assert abs((centred[:, distance:] * centred[:, :-distance]).mean()) < 8 / 1024
        assert abs((centred[distance:] * centred[:-distance]).mean()) < 8 / 1024


def test_rows_and_columns_are_kept_independently_of_each_other():
    keep = np.asarray(kept(seeds_of(1, 512), (512, 512), 0.5), np.float64)
    for table in (keep, keep.T):
        correlations = np.corrcoef(table) - np.eye(512)
        assert np.abs(correlations).max() < 6 / np.sqrt(512)


def test_what_is_kept_depends_on_seed_and_place_alone():
    seeds = seeds_of(2, 6, 3)
    whole = kept(seeds, (6, 3, 5, 7), 0.4)
    np.testing.assert_array_equal(whole[2:4, 1:], kept(seeds[2:4, 1:], (2, 2, 5, 7), 0.4))
    np.testing.assert_array_equal(whole, kept(seeds, (6, 3, 35), 0.4).reshape(whole.shape))


def test_what_remains_is_scaled_and_its_gradient_alike():
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 50)), jnp.float32)
    seeds = seeds_of(3, 4)
    out, back = jax.vjp(lambda x: drop(x, seeds, 0.25), x)
    keep = kept(seeds, x.shape, 0.25)
    np.testing.assert_allclose(out, np.where(keep, x / 0.75, 0.0), rtol=1e-6)
    np.testing.assert_allclose(back(x)[0], out, rtol=1e-6)
