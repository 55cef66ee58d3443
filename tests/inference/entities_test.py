"""Entities beside seqeval's."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.inference.entities import are_entities, entity_spans

IOB = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
IOBES = [*IOB, "E-PER", "S-PER", "E-LOC", "S-LOC", "I", "B"]


@settings(deadline=None, max_examples=300)  # the first call imports the library
@given(st.lists(st.sampled_from(IOBES), max_size=12))
def test_entities_are_those_of_seqeval_for_any_tags(tags):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from seqeval.metrics.sequence_labeling import get_entities

    expected = [(kind if kind != "_" else "", start, end + 1) for kind, start, end in get_entities(tags)]
    assert entity_spans(tags) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("I-PER I-PER I-LOC", [("PER", 0, 2), ("LOC", 2, 3)]),  # IOB1
        ("I-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
        ("B-PER E-PER S-PER I-PER", [("PER", 0, 2), ("PER", 2, 3), ("PER", 3, 4)]),
        ("B-PER L-PER U-PER O", [("PER", 0, 2), ("PER", 2, 3)]),  # BILOU
        ("B-a-b I-a-b I-a", [("a-b", 0, 2), ("a", 2, 3)]),
        ("O", []),
        ("", []),
    ],
)
def test_every_way_of_writing_them(tags, expected):
    assert entity_spans(tags.split()) == expected


def test_parts_of_speech_are_no_entities():
    assert are_entities(IOB) and are_entities(["B", "I", "O"]) and are_entities(["I-X", "O"])
    for tags in (["NOUN", "VERB"], ["O", "S-X"], ["B-X", "I-X", "X"], ["O"], []):
        assert not are_entities(tags)
