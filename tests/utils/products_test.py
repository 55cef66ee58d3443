"""A product's gradients on CPU are those of JAX's own rules, bit for bit, and equal inputs are kept once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.utils.products import cpu_product


def arrays(width, columns, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=size), dtype) for size in ((2, 9, width), (width, columns), (2, 9, columns))]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("width", "columns"), [(24, 8), (8, 24), (8, 8)])
def test_product_and_gradients_are_those_of_the_plain_form(width, columns, dtype):
    x, kernel, cotangent = arrays(width, columns, dtype)

    @jax.jit
    def plain(x, kernel):
        out, back = jax.vjp(lambda x, kernel: x @ kernel, x, kernel)
        return out, *back(cotangent)

    @jax.jit
    def own(x, kernel):
        out, back = jax.vjp(cpu_product, x, kernel)
        return out, *back(cotangent)

    for found, expected in zip(own(x, kernel), plain(x, kernel), strict=True):
        assert found.dtype == dtype and found.shape == expected.shape
        found, expected = (np.asarray(each, np.float64) for each in (found, expected))
        bound = 1e-6 if dtype == jnp.float32 else 1e-2
        assert np.linalg.norm(found - expected) < bound * np.linalg.norm(expected)


def test_layers_with_the_same_input_keep_it_once():
    x, kernel, _ = arrays(24, 8)

    def body(x, kernels):
        return x + sum(cpu_product(x, each).sum() for each in kernels), None

    def loss(kernels):
        return jax.lax.scan(body, x, kernels)[0].sum()

    kernels = [jnp.stack([kernel * number] * 4) for number in (1, 2, 3)]
    text = str(jax.make_jaxpr(jax.grad(loss))(kernels))
    forward = next(line for line in text.splitlines() if "scan[" in line)
    assert forward.count("f32[4,2,9,24]") == 1
