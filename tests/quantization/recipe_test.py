"""Recipes on disk, calibrated ranges and static products, each beside a plain numpy version."""

import json

import jax
import numpy as np
import pytest

from mobilebert_jax.cli import quantize as command
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.quantization.calibration import make_recipe
from mobilebert_jax.quantization.int8 import quantize
from mobilebert_jax.quantization.precision import at_precision
from mobilebert_jax.quantization.ranged import Ranged, ranged_product
from mobilebert_jax.quantization.recipe import METHODS, Recipe, read_recipe
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import INPUTS
from tests.models import reference
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error
from tests.quantization.int8_test import integers

MODEL = build_model(VARIANTS["mobilebert"], "pretraining")
SAMPLES = dict(zip(INPUTS, batch(MODEL.cfg), strict=True))


@pytest.fixture(scope="module")
def static():
    return make_recipe(MODEL, random_params(MODEL), "static", SAMPLES)


def test_ranges_are_those_of_a_plain_walk_at_tokens_alone(static, monkeypatch):
    seen, plain, mask = {}, reference.dense, SAMPLES["attention_mask"] > 0

    def watching(params, name, x):
        own = x[mask] if x.ndim == 3 else x
        seen.setdefault(name, []).append((own.min(), own.max()))
        return plain(params, name, x)

    monkeypatch.setattr(reference, "dense", watching)
    reference.encode(MODEL.cfg, random_params(MODEL), *batch(MODEL.cfg))
    assert len(seen) > 10
    for name, ends in seen.items():
        found = static.ranges[f"encoder/{'' if name.startswith('embeddings') else 'layers/'}{name}/kernel"]
        low, high = np.array(ends).T
        np.testing.assert_allclose(found[0].reshape(-1), low, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[1].reshape(-1), high, rtol=1e-4, atol=1e-4)


def test_static_products_are_those_of_integers_in_256_steps():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(1, 2, (3, 5, 32)).astype(np.float32), rng.normal(size=(32, 9)).astype(np.float32)
    low, high = np.float32([-1.5]), np.float32([6.0])  # some lie outside
    scale = (high - low) / np.float32(255)
    zero = np.rint(-128 - low / scale)
    values, (columns, column_scale) = np.clip(np.rint(x / scale) + zero, -128, 127) - zero, integers(kernel, 0)
    expected = (values @ columns) * scale.astype(np.float64) * column_scale
    found = jax.jit(ranged_product)(x, Ranged(quantize(kernel, -2), low, high))
    assert relative_error(found, expected) < 1e-6
    above = jax.jit(ranged_product)(np.abs(x), Ranged(quantize(kernel, -2), np.float32([0.5]), np.float32([9.0])))
    assert relative_error(above, np.abs(x) @ kernel) < 0.02  # a range without 0 is widened to hold it


@pytest.mark.parametrize("method", METHODS)
def test_every_method_stays_near_float32_and_weight_only_nearest(method, static):
    params, inputs = random_params(MODEL), batch(MODEL.cfg)

    def logits(precision, recipe):
        computing, own = at_precision(MODEL, params, precision, recipe)
        return jax.jit(lambda own: computing.apply({"params": own}, *inputs).prediction_logits)(own)

    plain, seen = logits("float32", None), SAMPLES["attention_mask"] > 0
    recipe = static if method == "static" else Recipe(method)
    error = relative_error(logits("int8", recipe)[seen], plain[seen])
    assert 1e-4 < error < {"dynamic": 0.05, "weight_only": 0.03, "static": 0.1}[method]


def test_a_recipe_is_read_as_it_was_written(static, tmp_path):
    assert read_recipe(tmp_path).method == "dynamic" and METHODS == command.METHODS
    static.save(tmp_path)
    again = read_recipe(tmp_path)
    assert again.method == "static" and again.ranges.keys() == static.ranges.keys()
    for name, ends in static.ranges.items():
        np.testing.assert_array_equal(again.ranges[name], ends)
    for name in INPUTS:
        np.testing.assert_array_equal(again.samples[name], SAMPLES[name])


def test_recipes_that_cannot_be_obeyed_are_refused_by_name(static, tmp_path):
    with pytest.raises(UserError, match="quantization method 'int4': must be one of dynamic, weight_only, static"):
        Recipe("int4")
    other = build_model(VARIANTS["teacher"], "pretraining")
    with pytest.raises(UserError, match=r"quantization.json: no ranges of .* for this model"):
        at_precision(other, random_params(other), "int8", static)
    static.save(tmp_path)
    (tmp_path / "calibration.safetensors").unlink()
    with pytest.raises(UserError, match=r"static needs ranges and calibration\.safetensors"):
        read_recipe(tmp_path)
    for text in ("{", json.dumps({"method": "static"}), json.dumps([])):
        (tmp_path / "quantization.json").write_text(text)
        with pytest.raises(UserError, match=r"quantization.json: no recipe of quantization"):
            read_recipe(tmp_path)
