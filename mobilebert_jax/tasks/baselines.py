"""What answers without reading the question score: the marks a trained model has to beat."""

from collections.abc import Sequence

import numpy as np

from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_scores import score_predictions
from mobilebert_jax.text.sentences import split_sentences


def baseline_scores(questions: Sequence[Question], seed: int = 0) -> dict[str, dict[str, float | int]]:
    """The scores (`score_predictions`) of each baseline."""
    predictions = baseline_predictions(questions, seed)
    return {name: score_predictions(questions, texts) for name, texts in predictions.items()}


def baseline_predictions(questions: Sequence[Question], seed: int = 0) -> dict[str, dict[str, str]]:
    """Texts by question id of three baselines.

    `no_answer` is silent; `first_sentence` gives the passage's first; `random_entry` takes one of the passage's lines
    without its full stop, as the answers of entry passages are. Lines of a single word are headings, and no baseline
    gives them where there is anything else. A passage of one line has its sentences for entries.
    """
    entries = {question.passage: _entries(question.passage) for question in questions}
    counts = [len(entries[question.passage]) for question in questions]
    drawn = np.random.default_rng(seed).integers(0, counts).tolist()
    return {
        "no_answer": {question.id: "" for question in questions},
        "first_sentence": {question.id: _first_sentence(question.passage) for question in questions},
        "random_entry": {
            question.id: entries[question.passage][index] for question, index in zip(questions, drawn, strict=True)
        },
    }


def _first_sentence(passage: str) -> str:
    return next((sentences[0] for sentences in map(split_sentences, _lines(passage)) if sentences), "")


def _entries(passage: str) -> list[str]:
    """What a random entry may be; never empty."""
    lines = _lines(passage)
    if len(lines) > 1:
        return [line.rstrip(".") for line in lines]
    return split_sentences(passage) or [""]


def _lines(passage: str) -> list[str]:
    """The lines that say something: those of several words, or all of them where there are no such."""
    lines = [line.strip() for line in passage.split("\n") if line.strip()]
    return [line for line in lines if len(line.split()) > 1] or lines
