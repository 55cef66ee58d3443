import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.masking import prediction_counts, replace_tokens, select_tokens, select_words


def random_rows(seed, rows=16, length=24, maskable_share=0.8):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 2**64, (rows, length), np.uint64)
    maskable = rng.random((rows, length)) < maskable_share
    continuation = rng.random((rows, length)) < 0.5
    counts = np.minimum(rng.integers(0, 7, rows), maskable.sum(axis=1))
    return scores, maskable, continuation, counts


def words_of(maskable, continuation):
    """The words of one row as lists of positions, by a plain loop."""
    words = []
    for position, eligible in enumerate(maskable):
        if eligible and continuation[position] and position and maskable[position - 1]:
            words[-1].append(position)
        elif eligible:
            words.append([position])
    return words


def test_counts_follow_the_formula():
    maskable = np.array([0, 1, 3, 10, 100, 1000])
    assert prediction_counts(maskable, 0.15, 20).tolist() == [0, 1, 1, 2, 15, 20]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_tokens_with_the_lowest_scores_are_selected(seed, share):
    scores, maskable, _, counts = random_rows(seed, maskable_share=share)
    positions = select_tokens(scores, maskable, counts, 6)
    for row, selected in enumerate(positions):
        eligible = sorted(np.flatnonzero(maskable[row]), key=lambda p: scores[row, p])
        expected = sorted(eligible[: counts[row]])
        assert selected.tolist() == expected + [24] * (6 - len(expected))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_whole_words_are_taken_greedily_in_score_order(seed, share):
    scores, maskable, continuation, counts = random_rows(seed, maskable_share=share)
    positions = select_words(scores, maskable, continuation, counts, 6)
    for row, selected in enumerate(positions):
        words = words_of(maskable[row], continuation[row])
        expected = []
        for number in sorted(range(len(words)), key=lambda w: scores[row, w]):
            if len(expected) + len(words[number]) <= counts[row]:
                expected += words[number]
        assert selected.tolist() == sorted(expected) + [24] * (6 - len(expected))


def test_every_token_is_equally_likely():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2**64, (4000, 10), np.uint64)
    positions = select_tokens(scores, np.ones((4000, 10), bool), np.full(4000, 3), 3)
    np.testing.assert_allclose(np.bincount(positions.ravel()) / 4000, 0.3, atol=0.03)


def test_replacements_are_80_10_10():
    action = choice = np.arange(0, 1, 0.001)
    original = np.full(1000, 7)
    replaced = replace_tokens(original, 4, np.array([10, 11]), action, choice)
    assert (replaced[:800] == 4).all() and (replaced[800:900] == 7).all() and (replaced[900:] == 11).all()
    replaced = replace_tokens(original, 4, np.array([10, 11]), np.full(1000, 0.95), choice)
    assert np.bincount(replaced).tolist()[10:] == [500, 500]
