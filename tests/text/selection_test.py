from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.selection import Selected, Selection
from mobilebert_jax.utils.errors import UserError

TEXTS = st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=30)
WEIGHTS = st.floats(0.05, 20)
SELECTIONS = st.builds(Selection, st.integers(0, 4), st.booleans(), st.integers(0, 12))


class ListCorpus(list):
    spec = "list"
    identity = {"corpus_fingerprint": "print"}  # noqa: RUF012


def selected(lists, weights=None, selection=None):
    weights = weights or [1.0] * len(lists)
    return Selected("spec", [ListCorpus(texts) for texts in lists], weights, selection or Selection())


def documents(corpus):
    """What the corpus yields; [] where it says that nothing is left."""
    try:
        return list(corpus)
    except UserError:
        return []


def marked(lists):
    """Every document made unlike all others, and told by its first letter which list it came from."""
    return [[f"{chr(65 + i)}{j:02}{text}" for j, text in enumerate(texts)] for i, texts in enumerate(lists)]


@given(st.lists(st.tuples(TEXTS, WEIGHTS), min_size=1, max_size=4))
def test_at_every_moment_the_shares_of_text_are_the_weights_to_within_one_document(parts):
    lists, weights = marked([texts for texts, _ in parts]), [weight for _, weight in parts]
    taken = [0] * len(lists)
    for text in selected(lists, weights):
        taken[ord(text[0]) - 65] += len(text)
        done = [count / weight for count, weight in zip(taken, weights, strict=True)]
        assert max(done) - min(done) <= 12 / min(weights) + 1e-9


@given(st.lists(st.tuples(TEXTS, WEIGHTS), min_size=1, max_size=4))
def test_a_mixture_keeps_each_source_s_order_and_ends_with_one_of_them_used_up(parts):
    lists, weights = marked([texts for texts, _ in parts]), [weight for _, weight in parts]
    mixed = list(selected(lists, weights))
    found = [[text for text in mixed if ord(text[0]) - 65 == i] for i in range(len(lists))]
    assert all(source[: len(part)] == part for source, part in zip(lists, found, strict=True))
    assert any(len(part) == len(source) for source, part in zip(lists, found, strict=True))


@given(st.lists(st.tuples(TEXTS, WEIGHTS), min_size=1, max_size=3), st.floats(0.01, 100), SELECTIONS)
def test_a_walk_is_the_same_each_time_and_only_the_weights_ratio_counts(parts, factor, selection):
    lists, weights = [texts for texts, _ in parts], [weight for _, weight in parts]
    corpus = selected(lists, weights, selection)
    walk = documents(corpus)
    assert documents(corpus) == walk
    power = 2.0 ** round(factor)  # exact, so that ties stay ties
    assert documents(selected(lists, [weight * power for weight in weights], selection)) == walk


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_without_duplicates_every_document_is_there_once_where_it_came_first(lists):
    mixed = documents(selected(lists, None, Selection(drop_duplicates=True)))
    assert not mixed or max(Counter(mixed).values()) == 1
    for texts in lists:
        places = [mixed.index(text) for text in dict.fromkeys(texts) if text in mixed]
        if len(lists) == 1:
            assert places == sorted(places)
    if len(lists) == 1:
        assert mixed == list(dict.fromkeys(lists[0]))


@given(TEXTS, SELECTIONS)
def test_a_selection_of_one_source_is_a_filter_then_a_limit(texts, selection):
    long = [text for text in texts if len(text) >= selection.min_characters]
    once = list(dict.fromkeys(long)) if selection.drop_duplicates else long
    assert documents(selected([texts], None, selection)) == once[: selection.max_documents or None]


@settings(max_examples=30)
@given(TEXTS, TEXTS, st.integers(1, 10))
def test_a_shorter_limit_is_the_beginning_of_a_longer_one(first, second, limit):
    walks = [documents(selected([first, second], None, Selection(max_documents=limit + i))) for i in range(3)]
    assert all(long[: len(short)] == short for short, long in pairwise(walks))


def test_shares_are_of_text_not_of_documents():
    mixed = list(selected([["a" * 100] * 50, ["b" * 10] * 500], [0.5, 0.5]))
    assert Counter(text[0] for text in mixed) == {"a": 50, "b": 500}


def test_nothing_left_is_refused():
    with pytest.raises(UserError, match="corpus 'spec': every document has under 5 characters"):
        list(selected([["abcd"]], None, Selection(min_characters=5)))


def test_the_identity_names_what_differs_from_the_defaults():
    assert Selection().identity == {}
    assert Selection(3, True, 9).identity == {"min_characters": 3, "drop_duplicates": True, "max_documents": 9}
    assert selected([["a"], ["b"]]).identity == {"corpus_fingerprint": "print+print"}
