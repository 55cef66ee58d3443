"""The reference's dense layers are linen's, on the same parameters."""

import flax.linen as nn
import jax
import numpy as np

from mobilebert_jax.bench.plain import linen_dense
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params


def test_every_dense_layer_is_linens_and_the_numbers_are_the_same():
    model = build_model(ModelConfig.test_student())
    params = init_params(model, 0)
    ids = np.arange(10, 34).reshape(2, 12)
    called = []

    def counted(call, args, kwargs, context):
        called.append(type(context.module).__name__)
        return linen_dense(call, args, kwargs, context)

    ours = model.apply({"params": params}, ids).last_hidden_state
    with nn.intercept_methods(counted):
        theirs = model.apply({"params": params}, ids).last_hidden_state
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)
    assert called.count("Dense") > 10


def test_the_products_are_three_dimensional():
    model = build_model(ModelConfig.test_student(scan_unroll=3))
    params = init_params(model, 0)

    def shapes(wrap):
        with nn.intercept_methods(wrap):
            text = str(jax.make_jaxpr(lambda p: model.apply({"params": p}, np.ones((2, 12), int)))(params))
        return text.count("(([2], [0]), ([], []))")

    assert shapes(linen_dense) > 10 > shapes(lambda call, args, kwargs, context: call(*args, **kwargs))
