"""Scores of tags beside seqeval's and scikit-learn's."""

import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.tasks.token_data import Tagged
from mobilebert_jax.tasks.token_scores import most_frequent_tags, token_score, token_scores

NAMES = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
CLASSES = st.integers(0, len(NAMES) - 1)
SENTENCES = st.lists(st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=8), min_size=1, max_size=6)


def tagged(labels, words=None):
    words = words or [["word"] * len(own) for own in labels]
    return Tagged("here", tuple(map(tuple, words)), np.array([tag for own in labels for tag in own], np.int32))


@settings(deadline=None, max_examples=150)  # the first call imports the library
@given(SENTENCES)
def test_entities_score_as_in_seqeval(sentences):
    gold, said = ([[pair[side] for pair in own] for own in sentences] for side in (0, 1))
    found = token_scores(tagged(gold), np.concatenate(said), NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import seqeval.metrics

        names = [[[NAMES[tag] for tag in own] for own in side] for side in (gold, said)]
        for name in ("f1", "precision", "recall", "accuracy"):
            reference = getattr(seqeval.metrics, f"{name}_score")
            options = {} if name == "accuracy" else {"zero_division": 0}
            assert found[name] == pytest.approx(100 * reference(*names, **options), abs=1e-9), name
    assert token_score(found) == found["f1"]


@settings(deadline=None, max_examples=60)  # the first call imports the library
@given(SENTENCES)
def test_other_tags_score_as_in_scikit_learn(sentences):
    gold, said = ([pair[side] for own in sentences for pair in own] for side in (0, 1))
    found = token_scores(tagged([gold]), np.array(said), ("ADJ", "NOUN", "PRON", "VERB", "X"))
    macro = sklearn.metrics.f1_score(gold, said, average="macro", zero_division=0.0)
    expected = {"accuracy": 100 * sklearn.metrics.accuracy_score(gold, said), "macro_f1": 100 * macro}
    assert found == pytest.approx(expected) and token_score(found) == found["accuracy"]


def test_an_entity_does_not_reach_into_the_next_sentence():
    found = token_scores(tagged([[1], [3]]), np.array([1, 3]), NAMES)
    assert found["f1"] == 100.0
    assert token_scores(tagged([[1, 3]]), np.array([1, 4]), NAMES)["f1"] == 0.0


def test_the_baseline_knows_words_but_no_context():
    asked = tagged([[0] * 4], [["Bath", "Ann", "new", "saw"]])
    # Bath: twice O; saw: O and B-LOC once each, of equals the first; new: O is the commonest of all.
    train = tagged([[1, 4, 4], [4, 1], [0, 0, 4]], [["Ann", "saw", "Bath"], ["Bath", "Bath"], ["Bath", "saw", "a"]])
    assert [NAMES[tag] for tag in most_frequent_tags(train, asked)] == ["O", "B-PER", "O", "B-LOC"]
