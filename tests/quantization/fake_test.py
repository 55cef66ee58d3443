"""Fake quantization: forward as int8, backward as if nothing had happened; and one layer at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.quantization.arithmetic import Computing
from mobilebert_jax.quantization.fake import fake_arithmetic, fake_kernel, fake_range, fake_rows, fake_tensor
from mobilebert_jax.quantization.precision import at_precision
from mobilebert_jax.quantization.recipe import Recipe
from mobilebert_jax.quantization.sensitivity import off, switchable, switched, switching
from mobilebert_jax.utils.trees import named_leaves
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error

MODEL = build_model(VARIANTS["qat"], "qa")


def start_logits(model, params):
    inputs = batch(VARIANTS["qat"])
    return jax.jit(lambda params: model.apply({"params": params}, *inputs).start_logits)(params)


@pytest.mark.parametrize("fake", [fake_kernel, fake_rows, fake_tensor, lambda x: fake_range(x, -1.0, 1.0)])
def test_what_is_rounded_has_the_gradient_of_what_is_not(fake):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    g = jnp.arange(24.0).reshape(4, 6)
    found, back = jax.vjp(fake, x)
    assert 1e-4 < float(jnp.abs(found - x).max()) < 3
    np.testing.assert_allclose(back(g)[0], g)


@pytest.mark.parametrize("method", ["dynamic", "weight_only"])
def test_training_sees_the_numbers_that_int8_computes(method):
    params = random_params(MODEL)
    fake = start_logits(Computing(MODEL, fake_arithmetic(method)), params)
    exact = start_logits(*at_precision(MODEL, params, "int8", Recipe(method)))
    assert relative_error(fake, exact) < 3e-3
    assert relative_error(start_logits(MODEL, params), exact) > 5e-3


def test_every_parameter_has_a_finite_gradient_that_is_not_zero():
    params, inputs = random_params(MODEL), batch(MODEL.cfg)
    model = Computing(MODEL, fake_arithmetic("static"))

    def loss(params):
        return jnp.square(model.apply({"params": params}, *inputs).start_logits).sum()

    for name, leaf in named_leaves(jax.jit(jax.grad(loss))(params)).items():
        assert np.isfinite(leaf).all() and np.any(leaf), name


def test_switches_quantize_one_layer_all_of_them_or_none():
    params, recipe = random_params(MODEL), Recipe()
    model = switching(MODEL, recipe)
    outputs = jax.jit(
        lambda switches: model.apply({"params": switched(params, switches, recipe)}, *batch(MODEL.cfg)).start_logits
    )
    plain = start_logits(MODEL, params)
    assert relative_error(outputs(off(params)), plain) < 1e-5
    every = {name: np.ones_like(own) for name, own in off(params).items()}
    fake = start_logits(Computing(MODEL, fake_arithmetic("dynamic")), params)
    assert relative_error(outputs(every), fake) < 3e-3
    one = off(params)
    one["encoder/layers/ffn_1/intermediate/kernel"][1, 0] = 1
    whole = relative_error(fake, plain)
    assert 1e-5 < relative_error(outputs(one), plain) < whole
    assert switchable(params)["encoder/layers/attention/query/kernel"] == MODEL.cfg.num_hidden_layers
    assert switchable(params)["encoder/embeddings/word_embeddings/embedding"] == 1
