import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.training.checksum import checksum, host_checksum
from mobilebert_jax.utils.trees import named_leaves

TREE = {
    "kernel": jnp.float32([[0.1, -0.0], [np.nan, -np.inf]]),
    "norm": {"scale": jnp.bfloat16([1.0, 1 / 3]), "on": jnp.bool_([True, False])},
    "count": jnp.int32(-1),
}


def on_the_host(tree):
    return host_checksum({name: np.asarray(leaf) for name, leaf in named_leaves(tree).items()})


def test_device_and_host_count_the_same():
    assert int(jax.jit(checksum)(TREE)) == on_the_host(TREE) > 0


def test_large_arrays_wrap_around_alike():
    tree = {"a": jnp.full((300, 1000), -1.5, jnp.float32), "b": jnp.full(70_000, np.nan, jnp.float32)}
    assert int(checksum(tree)) == on_the_host(tree)


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=4, max_size=64).filter(lambda data: len(data) % 4 == 0), st.data())
def test_any_one_bit_changes_it(data, draw):
    bits = np.frombuffer(data, np.uint32)
    changed = bits.copy()
    changed[draw.draw(st.integers(0, len(bits) - 1))] ^= np.uint32(1 << draw.draw(st.integers(0, 31)))
    assert host_checksum({"a": bits.view(np.float32)}) != host_checksum({"a": changed.view(np.float32)})


@pytest.mark.parametrize("value", [-0.0, np.nan])
def test_bits_count_and_not_values(value):
    assert int(checksum({"a": jnp.float32(value)})) != int(checksum({"a": jnp.float32(0.0)}))
