"""Integers, scales and products beside a plain numpy version."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.quantization.int8 import Int8, dequantize, lookup, product, quantize, quantize_params
from mobilebert_jax.utils.trees import named_leaves
from tests.models.model_cases import VARIANTS, random_params, relative_error

VALUES = arrays(np.float32, (4, 6), elements=st.floats(-1e7, 1e7, width=32))


def integers(x, axis):
    """(integers, scales) of a float32 array."""
    largest = np.abs(x).max(axis, keepdims=True)
    scale = np.where(largest > 1e-30, largest / np.float32(127), np.float32(1))
    return np.clip(np.rint(x / scale), -127, 127).astype(np.int64), scale


@settings(deadline=None, max_examples=50)  # the first call compiles
@given(VALUES, st.sampled_from([0, 1, -2, -1]))
@example(np.full((4, 6), np.finfo(np.float32).tiny), 0)
@example(np.full((4, 6), 1e-37, np.float32), 1)
def test_integers_are_the_nearest_and_the_largest_is_127(x, axis):
    found = quantize(x, axis)
    assert found.values.dtype == jnp.int8 and found.scale.dtype == jnp.float32
    scale = np.asarray(found.scale)
    assert np.abs(np.asarray(dequantize(found)) - x).max() <= (0.5001 * scale).max()
    assert (np.abs(dequantize(found) - x) <= 0.5001 * scale).all()
    # A row of the least floats has no scale that is a float; they are 0, as are zeros.
    large = np.broadcast_to(np.abs(x).max(axis, keepdims=True) > 1e-30, x.shape)
    whole = np.abs(np.asarray(found.values, np.int64)).max(axis, keepdims=True)
    assert (np.where(large.any(axis, keepdims=True), whole, 127) == 127).all()
    assert np.isfinite(scale).all() and np.asarray(found.values).min() >= -127


@pytest.mark.parametrize("shape", [(3, 5, 32), (7, 32), (2, 1, 4, 32)])
def test_products_are_those_of_integers(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32) * rng.lognormal(sigma=3, size=(*shape[:-1], 1)).astype(np.float32)
    x[0, 0] = 0.0  # padding
    kernel = rng.normal(size=(32, 9)).astype(np.float32)
    rows, row_scale = integers(x, -1)
    columns, column_scale = integers(kernel, 0)
    expected = (rows @ columns) * row_scale.astype(np.float64) * column_scale
    found = jax.jit(product)(x, quantize(kernel, -2))
    assert found.dtype == jnp.float32 and relative_error(found, expected) < 1e-6
    # Of rows of any size alike: each has its own scale.
    errors = np.linalg.norm(found - x @ kernel, axis=-1) / np.maximum(np.linalg.norm(x @ kernel, axis=-1), 1e-9)
    assert errors[x.any(-1)].min() > 1e-3 and errors.max() < 0.05


def test_rows_of_a_table_have_scales_of_their_own():
    table = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32) * 10.0 ** np.arange(20)[:, None]
    ids = np.array([[3, 0], [19, 3]])
    found = lookup(quantize(table, -1), ids)
    values, scale = integers(table.astype(np.float32), -1)
    assert relative_error(found, (values * scale)[ids]) < 1e-6
    assert (np.abs(found - table[ids]) <= np.abs(table[ids]).max(-1, keepdims=True) / 250).all()


def test_kernels_and_tables_become_integers_layer_by_layer_and_nothing_else():
    model = build_model(VARIANTS["no_opt"], "pretraining")
    params = random_params(model)
    found = quantize_params(params)
    before, after = named_leaves(params), named_leaves(found)
    for name, leaf in before.items():
        if name.rpartition("/")[2] not in ("kernel", "embedding"):
            np.testing.assert_array_equal(after[name], leaf)
            continue
        values, scale = integers(leaf, -1 if name.endswith("embedding") else -2)
        np.testing.assert_array_equal(after[f"{name}/values"], values)
        np.testing.assert_allclose(after[f"{name}/scale"], scale, rtol=1e-6)
        assert after[f"{name}/values"].dtype == np.int8
    stored = found["encoder"]["layers"]["attention"]["query"]["kernel"]
    assert isinstance(stored, Int8) and stored.shape == (3, 16, 16) and stored.scale.shape == (3, 1, 16)
