import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.text.lengths import bucket_of, in_order_of_length, length_buckets, window_buckets


@pytest.mark.parametrize("make", [length_buckets, window_buckets])
@given(length=st.integers(3, 600))
def test_there_are_a_few_lengths_and_the_longest_is_the_whole(make, length):
    buckets = make(length).tolist()
    assert buckets == sorted(set(buckets)) and len(buckets) <= 6 and buckets[-1] == length
    assert all(bucket % 8 == 0 for bucket in buckets[:-1])
    assert make(length, False).tolist() == [length]


def test_the_lengths_of_bert():
    assert length_buckets(128).tolist() == [16, 32, 64, 96, 128]
    assert window_buckets(384).tolist() == [96, 144, 192, 240, 288, 384]


@given(st.integers(8, 200), st.data())
def test_an_example_gets_the_shortest_length_that_leaves_padding_or_the_longest(longest, data):
    lengths = np.array(data.draw(st.lists(st.integers(2, longest), min_size=1, max_size=9)))
    buckets = length_buckets(longest).tolist()
    for length, place in zip(lengths.tolist(), bucket_of(lengths, np.array(buckets)).tolist(), strict=True):
        assert buckets[place] == min([each for each in buckets if each > length], default=longest)


def test_prediction_sees_every_example_once_padded_to_its_own_bucket():
    lengths = np.array([1, 30, 3, 12, 8, 32, 5])
    seen = []
    for rows, count, length in in_order_of_length(lengths, length_buckets(32), 2):
        assert len(rows) == 2
        own = [min((bucket for bucket in (8, 16, 24) if bucket > each), default=32) for each in lengths[rows]]
        assert set(own) == {length}
        seen += rows[:count].tolist()
    assert sorted(seen) == list(range(7))


def test_no_examples_are_no_batches():
    assert list(in_order_of_length(np.zeros(0, np.int64), length_buckets(32), 2)) == []
