"""How tags of words score: entities as conlleval counts them, other tags by scikit-learn."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from mobilebert_jax.inference.entities import are_entities, entity_spans
from mobilebert_jax.tasks.label_scores import label_scores
from mobilebert_jax.tasks.token_data import Tagged


def token_scores(tagged: Tagged, said: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Scores in percent of the class numbers `said` [W]: the first one, of several, is what decides.

    f1, precision, recall of whole entities, and the words' accuracy, where the tags `names` mark entities; of other
    tags accuracy and macro_f1. A ratio of nothing to nothing is 0.
    """
    accuracy = label_scores(("accuracy",), tagged.labels, said)
    if not are_entities(names):
        return accuracy | label_scores(("macro_f1",), tagged.labels, said)
    gold, found = (_spans(tagged, labels, names) for labels in (tagged.labels, said))
    right = 100.0 * len(gold & found)
    return {
        "f1": 2 * right / max(1, len(gold) + len(found)),
        "precision": right / max(1, len(found)),
        "recall": right / max(1, len(gold)),
        **accuracy,
    }


def token_score(scores: dict[str, float]) -> float:
    """The one number that decides: F1 of entities, or the accuracy of other tags."""
    return next(iter(scores.values()))


def most_frequent_tags(train: Tagged, asked: Tagged) -> np.ndarray:
    """What knows no context says [W]: a word's commonest tag in training, of a new word that of all words.

    Of equals the first.
    """
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for word, label in zip((word for words in train.sentences for word in words), train.labels.tolist(), strict=True):
        counts[word][label] += 1
    usual = {word: max(own, key=lambda label, own=own: (own[label], -label)) for word, own in counts.items()}
    others = int(np.bincount(train.labels).argmax())
    return np.array([usual.get(word, others) for words in asked.sentences for word in words], np.int32)


def _spans(tagged: Tagged, labels: np.ndarray, names: Sequence[str]) -> set[tuple]:
    ends = np.cumsum(tagged.lengths)
    parts = np.split(labels, ends[:-1])
    return {
        (number, *span)
        for number, own in enumerate(parts)
        for span in entity_spans([names[tag] for tag in own.tolist()])
    }
