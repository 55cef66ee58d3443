import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.text.sample import sample_paragraphs

DOCUMENTS = ["\n".join(f"paragraph {i} of document {d}" for i in range(d % 7 + 1)) for d in range(500)]
PARAGRAPHS = [paragraph for document in DOCUMENTS for paragraph in document.split("\n")]


@pytest.mark.parametrize("characters", [1, 26, 1000, 20_000])
def test_the_sample_has_the_asked_size_to_within_a_paragraph(characters):
    sample = sample_paragraphs(DOCUMENTS, characters)
    assert characters <= sum(map(len, sample)) < characters + max(map(len, PARAGRAPHS))


def test_a_small_corpus_is_taken_whole_and_in_order():
    assert sample_paragraphs(DOCUMENTS, 10**9) == PARAGRAPHS


def test_the_sample_keeps_the_order_and_comes_from_everywhere():
    sample = sample_paragraphs(DOCUMENTS, sum(map(len, PARAGRAPHS)) // 5)
    places = [PARAGRAPHS.index(paragraph) for paragraph in sample]
    assert places == sorted(places)
    quarter = len(PARAGRAPHS) / 4
    shares = [sum(q * quarter <= place < (q + 1) * quarter for place in places) / len(places) for q in range(4)]
    assert all(0.15 < share < 0.35 for share in shares)


def test_the_order_of_documents_does_not_decide_what_is_taken():
    shuffled = random.Random(0).sample(DOCUMENTS, len(DOCUMENTS))
    assert sorted(sample_paragraphs(shuffled, 5000)) == sorted(sample_paragraphs(DOCUMENTS, 5000))


@given(st.lists(st.lists(st.sampled_from(["a", "bb", "cccc", "d" * 30]), min_size=1), max_size=20), st.integers(1, 99))
def test_repeated_paragraphs_are_each_counted(documents, characters):
    sample = sample_paragraphs(map("\n".join, documents), characters)
    whole = sum(len(paragraph) for paragraphs in documents for paragraph in paragraphs)
    assert min(characters, whole) <= sum(map(len, sample)) < characters + 30


def test_documents_are_read_once_and_few_are_kept():
    read = iter(DOCUMENTS)
    sample_paragraphs(read, 100)
    assert next(read, None) is None
