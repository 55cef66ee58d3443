"""Operations of single instructions against XLA's own count of programs that are one instruction."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.parallel.hlo_costs import total, work_of
from mobilebert_jax.parallel.hlo_flops import _filled
from mobilebert_jax.parallel.hlo_text import parse_module


def compiled(function, *shapes):
    return jax.jit(function).lower(*[jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]).compile()


def counted(made):
    costs = total(work_of(parse_module(made.as_text())), lambda name: 1, 1.0, 1.0)
    return costs.matrix_flops, costs.flops


@pytest.mark.parametrize(
    ("equation", "left", "right", "products"),
    [
        ("ab,bc->ac", (8, 16), (16, 32), 8 * 16 * 32),
        ("bqnd,bknd->bnqk", (2, 8, 4, 16), (2, 8, 4, 16), 2 * 4 * 8 * 8 * 16),
        ("ab,ab->", (8, 16), (8, 16), 8 * 16),
    ],
)
def test_a_product_is_two_operations_a_pair(equation, left, right, products):
    made = compiled(lambda a, b: jnp.einsum(equation, a, b), left, right)
    matrix, every = counted(made)
    assert every == pytest.approx(made.cost_analysis()["flops"], rel=0.02)
    assert matrix in (2 * products, 0)  # XLA may make a sum of a vector's product


KERNEL = """
HloModule m

ENTRY %main (q: bf16[8,512,128]) -> bf16[8,512,128] {
  %q = bf16[8,512,128]{2,1,0} parameter(0)
  ROOT %c = bf16[8,512,128]{2,1,0} custom-call(%q), custom_call_target="TARGET", backend_config={CONFIG}
}
"""
SAID = '"custom_call_config":{"body":"TUzvUg==","cost_estimate":{"bytes_accessed":"42","flops":"1073741824"}}'


@pytest.mark.parametrize(("target", "config", "flops"), [("tpu_custom_call", SAID, 2**30), ("ConcatBitcast", "", 0)])
def test_a_kernel_of_ours_counts_what_it_says_of_itself_and_moves_its_arrays(target, config, flops):
    module = parse_module(KERNEL.replace("TARGET", target).replace("CONFIG", config))
    costs = total(work_of(module), lambda name: 1, 1.0, 1.0)
    assert (costs.matrix_flops, costs.flops, costs.bytes) == (flops, flops, 2 * 8 * 512 * 128 * 2)


@pytest.mark.parametrize("padding", [(0, 0), (3, 1), (-2, 5)])
def test_a_convolution_counts_what_meets_something(padding):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (2,), [padding], lhs_dilation=(3,), rhs_dilation=(2,))

    made = compiled(convolve, (4, 6, 20), (8, 6, 5))
    assert counted(made)[0] == made.cost_analysis()["flops"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.sum(x * 2 + 1, axis=1),
        lambda x: jax.nn.softmax(x, axis=-1),
        lambda x: jnp.where(x > 0, x, -x).mean(),
        lambda x: x.at[jnp.array([0, 3])].add(x[:2]),
    ],
)
def test_other_operations_count_as_xla_counts_them(function):
    made = compiled(function, (64, 128))
    matrix, every = counted(made)
    assert matrix == 0
    assert every == pytest.approx(made.cost_analysis()["flops"], rel=0.02)


@settings(max_examples=200, deadline=None)
@given(*[st.integers(1, 6)] * 2, st.integers(1, 4), st.integers(1, 3), st.integers(-2, 8), *[st.integers(1, 9)] * 2)
def test_filled_positions_are_those_one_finds_by_looking(size, stride, dilate, spread, low, given_size, made):
    found = 0
    for tap in range(size):
        for place in range(made):
            index = place * stride + tap * spread - low
            found += index in range(0, given_size * dilate, dilate)
    assert _filled(size, stride, dilate, spread, low, given_size, made) == found
