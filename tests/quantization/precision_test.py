"""Whole models at every precision, beside a plain numpy version that multiplies integers."""

import functools

import jax
import numpy as np
import pytest

from mobilebert_jax.cli import main
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.quantization.precision import PRECISIONS, at_precision
from mobilebert_jax.utils.errors import UserError
from tests.models import reference
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error
from tests.quantization.int8_test import integers


def int8_dense(params, name, x):
    rows, row_scale = integers(x, -1)
    columns, column_scale = integers(params[f"{name}/kernel"], 0)
    return (rows @ columns) * row_scale * column_scale + params[f"{name}/bias"]


@functools.cache
def outputs(variant, precision):
    model = build_model(VARIANTS[variant], "pretraining")
    computing, params = at_precision(model, random_params(model), precision)
    inputs = batch(model.cfg)
    return jax.jit(lambda params: computing.apply({"params": params}, *inputs, output_hidden_states=True))(params)


@pytest.mark.parametrize("variant", ["mobilebert", "teacher"])
def test_int8_multiplies_integers_in_every_layer(variant, monkeypatch):
    cfg = VARIANTS[variant]
    params, inputs = random_params(build_model(cfg, "pretraining")), batch(cfg)
    monkeypatch.setattr(reference, "dense", int8_dense)

    def rounded(params, tables=reference.float64_params):
        found = tables(params)
        for name in found:
            if name.endswith("embedding") and not name.endswith("extra_embedding"):
                values, scale = integers(found[name], -1)
                found[name] = values * scale
        return found

    monkeypatch.setattr(reference, "float64_params", rounded)
    expected = reference.encode(cfg, params, *inputs)
    found, plain = outputs(variant, "int8"), outputs(variant, "float32")
    # Where float32 rounds a half to the other side than float64, one activation is another integer.
    error = relative_error(found.encoder.last_hidden_state, expected["last_hidden_state"])
    assert error < 3e-3
    assert relative_error(plain.encoder.last_hidden_state, expected["last_hidden_state"]) > 3 * error
    assert relative_error(found.encoder.hidden_states[0], expected["hidden_states"][0]) < 1e-3
    logits = reference.masked_lm_logits(cfg, expected["params"], expected["last_hidden_state"])
    assert relative_error(found.prediction_logits, logits) < 3e-3


@pytest.mark.parametrize(("precision", "least", "most"), [("float32", 0, 0), ("bfloat16", 1e-4, 2e-2)])
def test_floats_change_the_products_alone(precision, least, most):
    model = build_model(VARIANTS["mobilebert"].replace(dtype="bfloat16"), "pretraining")
    computing, params = at_precision(model, random_params(model), precision)
    assert computing.cfg.dtype == precision and model.cfg.dtype == "bfloat16"
    given = random_params(model)["encoder"]["layers"]["attention"]["query"]["kernel"]
    np.testing.assert_array_equal(params["encoder"]["layers"]["attention"]["query"]["kernel"], given)
    error = relative_error(
        outputs("mobilebert", precision).prediction_logits, outputs("mobilebert", "float32").prediction_logits
    )
    assert least <= error <= most


def test_any_other_precision_is_refused_by_name():
    assert PRECISIONS == main.PRECISIONS
    with pytest.raises(UserError, match="precision 'int4': must be one of float32, bfloat16, int8"):
        at_precision(build_model(VARIANTS["mobilebert"]), {}, "int4")
