import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.randomness import integers, random_bits, uniforms

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z):
    """The finaliser of splitmix64 in Python integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def reference_bits(seed, index, salt, lane=None):
    stream = mix((mix(((seed & MASK) + GOLDEN) & MASK) + salt + GOLDEN) & MASK)
    key = mix((index * GOLDEN + stream) & MASK)
    return key if lane is None else mix((key + (lane + 1) * GOLDEN) & MASK)


def test_the_mixer_is_splitmix64():
    assert mix(GOLDEN) == 0xE220A8397B1DCDAF, "the first output of splitmix64 seeded with 0"


@settings(max_examples=50, deadline=None)
@given(st.integers(-(2**70), 2**70), st.lists(st.integers(0, 2**62), min_size=1, max_size=5), st.integers(0, 99))
def test_bits_equal_the_plain_integer_version(seed, index, salt):
    indices = np.array(index, np.int64)
    assert random_bits(seed, indices, salt).tolist() == [reference_bits(seed, i, salt) for i in index]
    lanes = random_bits(seed, indices, salt, lanes=3)
    assert lanes.tolist() == [[reference_bits(seed, i, salt, lane) for lane in range(3)] for i in index]


def test_any_slice_and_order_gives_the_same_numbers():
    index = np.arange(1000)
    whole = uniforms(7, index, 3, lanes=4)
    np.testing.assert_array_equal(uniforms(7, index[200:210], 3, lanes=4), whole[200:210])
    np.testing.assert_array_equal(uniforms(7, index[::-1], 3, lanes=4), whole[::-1])
    assert index.tolist() == list(range(1000)), "arguments are left alone"


def test_seeds_salts_indices_and_lanes_are_independent_and_uniform():
    index = np.arange(2000)
    draws = [uniforms(seed, index, salt, lanes=8) for seed in (0, 1) for salt in (0, 1)]
    columns = np.concatenate(draws, axis=1)
    assert columns.min() >= 0 and columns.max() < 1
    np.testing.assert_allclose(columns.mean(axis=0), 0.5, atol=0.035)
    np.testing.assert_allclose(columns.var(axis=0), 1 / 12, atol=0.01)
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert abs(correlation).max() < 0.12
    following = np.corrcoef(columns[:-1, 0], columns[1:, 0])[0, 1]
    assert abs(following) < 0.1


def test_integers_cover_their_own_bounds():
    index = np.arange(3000)
    bound = np.where(index % 2, 3, 1000)
    values = integers(5, index, 0, bound)
    assert values.dtype == np.int64
    assert (values >= 0).all() and (values < bound).all()
    np.testing.assert_allclose(np.bincount(values[bound == 3]) / 1500, 1 / 3, atol=0.05)
