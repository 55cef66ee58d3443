from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.text.seen import BUCKETS, RECENT, Seen


@given(st.lists(st.text(max_size=3)), st.integers(1, 5))
def test_texts_are_new_once_whenever_they_are_merged(texts, recent):
    seen, expected = Seen(recent), set()
    for text in texts:
        assert seen.add(text) is (text not in expected)
        expected.add(text)


def test_what_was_merged_is_eight_bytes_a_text():
    seen = Seen(recent=4)
    assert all(seen.add(f"text {i}") for i in range(20_000))
    merged = sum(array.nbytes for array in seen._merged)
    waiting = sum(map(len, seen._recent))
    assert merged == 8 * (20_000 - waiting) and waiting < 4 * BUCKETS
    assert not any(seen.add(f"text {i}") for i in range(0, 20_000, 7))


def test_at_most_a_million_wait_to_be_merged():
    assert BUCKETS * RECENT == 1 << 20
