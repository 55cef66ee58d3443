"""Predictions for many questions, their files, and the best no-answer threshold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mobilebert_jax.inference.predictor import Predict, predict_windows
from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.inference.spans import Span, answer_end, best_spans
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_scores import question_scores
from mobilebert_jax.tasks.squad_windows import window_groups
from mobilebert_jax.text.lengths import window_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.files import write_json

# The odds of a passage without any span: finite, so that the files stay plain JSON.
_NO_SPAN_ODDS = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Predictions:
    """What a model says to each question, by question id.

    An n-best list holds `{text, probability, score, start, end}`, best first, each text once; the entry for "no answer"
    has the text "" and no place. `null_odds` is the score of "no answer" minus that of the best span.
    """

    texts: dict[str, str]  # "" for no answer
    nbest: dict[str, list[dict[str, Any]]]
    null_odds: dict[str, float]

    def texts_at(self, threshold: float) -> dict[str, str]:
        """The texts under another threshold: "" where the null odds exceed it; infinity always answers if it can."""
        spans = best_texts(self.nbest)
        return {name: "" if odds > threshold else spans[name] for name, odds in self.null_odds.items()}


def predict_questions(
    predict: Predict,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    *,
    sequence_length: int,
    doc_stride: int = 128,
    max_query_length: int = 64,
    max_answer_length: int = 30,
    n_best: int = 20,
    batch_size: int = 32,
    bucketing: bool = True,
    threshold: float = 0.0,
    progress: bool = True,
) -> Predictions:
    """Answers all questions with `predict`; with `progress` a bar on a terminal, and a warning of questions cut short.

    `predict` is called with `batch_size` windows of a few lengths, without `bucketing` of `sequence_length`.
    Follows google-research/bert run_squad.py (`write_predictions`): "no answer" wins when its score exceeds the best
    span's by more than `threshold`.
    """
    nbest: dict[str, list[dict[str, Any]]] = {}
    null_odds: dict[str, float] = {}
    shape = {"sequence_length": sequence_length, "doc_stride": doc_stride, "max_query_length": max_query_length}
    buckets = window_buckets(sequence_length, bucketing)
    with tqdm(total=len(questions), desc="answering", unit=" questions", disable=None if progress else True) as bar:
        for group, windows in window_groups(tokenizer, questions, **shape, warn=progress):
            logits = predict_windows(predict, windows, buckets, batch_size, _advance(bar, len(group), len(windows)))
            spans, null_scores = best_spans(windows, *logits, n_best=n_best, max_answer_length=max_answer_length)
            for question, candidates, null_score in zip(group, spans, null_scores.tolist(), strict=True):
                nbest[question.id] = _nbest(question.passage, candidates, null_score)
                null_odds[question.id] = null_score - candidates[0].score if candidates else _NO_SPAN_ODDS
            bar.update(len(nbest) - bar.n)
    predictions = Predictions({}, nbest, null_odds)
    predictions.texts.update(predictions.texts_at(threshold))
    return predictions


def best_texts(nbest: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """The best text that is an answer, by question id; "" where there is none."""
    return {name: next((entry["text"] for entry in entries if entry["text"]), "") for name, entries in nbest.items()}


def write_predictions(predictions: Predictions, folder: str | Path, task: str = "squad2") -> None:
    """Writes predictions.json, nbest_predictions.json and, for squad2, null_odds.json, each atomically."""
    write_json(Path(folder) / "predictions.json", predictions.texts)
    write_json(Path(folder) / "nbest_predictions.json", predictions.nbest)
    if task == "squad2":
        write_json(Path(folder) / "null_odds.json", predictions.null_odds)


def best_threshold(questions: Sequence[Question], predictions: Predictions) -> dict[str, float]:
    """The thresholds that would have scored best on these questions, and those scores in percent.

    Keys as in the official evaluate-v2.0.py (`find_all_best_thresh`): best_exact, best_exact_thresh, best_f1,
    best_f1_thresh. Unlike there, the best span counts also where the prediction was "", and a threshold lies between
    two different odds, so `predictions.texts_at(threshold)` has exactly the score. Raises UserError for questions
    without a prediction.
    """
    answered = question_scores(questions, best_texts(predictions.nbest))
    silent = question_scores(questions, dict.fromkeys(predictions.nbest, ""))
    odds = np.array([predictions.null_odds[question.id] for question in questions], np.float64)
    result: dict[str, float] = {}
    for name, spoken, unspoken in zip(("exact", "f1"), answered, silent, strict=True):
        score, threshold = _best_cut(odds, spoken - unspoken, float(unspoken.sum()))
        result |= {f"best_{name}": 100 * score / len(questions), f"best_{name}_thresh": threshold}
    return result


def _best_cut(odds: np.ndarray, gain: np.ndarray, silent: float) -> tuple[float, float]:
    """Best score and its threshold, when the questions with the lowest odds are answered and the others are not.

    `gain [Q]`: what answering adds to the score; `silent`: the score of answering nothing.
    """
    values, group = np.unique(odds, return_inverse=True)
    scores = silent + np.cumsum(np.bincount(group, weights=gain))
    best = int(scores.argmax())
    if scores[best] <= silent:
        return silent, float(values[0]) - 1.0
    return float(scores[best]), float(values[best])


def _advance(bar: tqdm, questions: int, windows: int) -> Callable[[int], None]:
    """Moves the bar by the finished windows' share of a group's questions."""
    begun = bar.n
    return lambda finished: bar.update(begun + questions * finished // windows - bar.n)


def _nbest(passage: str, spans: list[Span], null_score: float) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for span in spans:
        end = answer_end(passage, span.end_char)
        text = passage[span.start_char : end]
        entries.setdefault(text, {"text": text, "score": span.score, "start": span.start_char, "end": end})
    entries[""] = {"text": "", "score": null_score, "start": None, "end": None}
    ranked = sorted(entries.values(), key=lambda entry: -entry["score"])
    shares = softmax([entry["score"] for entry in ranked]).tolist()
    return [entry | {"probability": share} for entry, share in zip(ranked, shares, strict=True)]
