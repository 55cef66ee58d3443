"""Question sets and how a model does on them: what fine-tuning, `run` and `evaluate` share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mobilebert_jax.inference.predictor import Predict
from mobilebert_jax.tasks.baselines import baseline_predictions
from mobilebert_jax.tasks.squad_data import Question, load_squad, parse_squad
from mobilebert_jax.tasks.squad_predict import Predictions, best_threshold, predict_questions
from mobilebert_jax.tasks.squad_scores import score_predictions
from mobilebert_jax.text.python_docs_qa import BUILTIN, open_questions
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError

THRESHOLDS = {"squad1": math.inf, "squad2": 0.0}
"""The tasks: in SQuAD 1.1 every question has an answer, in 2.0 "no answer" wins above the threshold."""


def load_questions(spec: str, task: str) -> tuple[list[Question], list[Question]]:
    """(training, held-out) questions of the builtin set or of a SQuAD json file, split by title."""
    parts = open_questions(spec)
    return tuple(of_task(parse_squad(parts[part], spec), task, spec) for part in ("train", "heldout"))


def load_heldout(spec: str, task: str) -> list[Question]:
    """What a finished model is asked: the builtin set's held-out part, or all of a SQuAD json file."""
    if spec.startswith("builtin:"):
        return load_questions(spec, task)[1]
    return of_task(load_squad(spec), task, spec)


def of_task(questions: Sequence[Question], task: str, source: str) -> list[Question]:
    """The questions that belong to the task: for squad1, those with an answer.

    Raises:
        UserError: no such task, or none of the questions belongs to it.
    """
    if task not in THRESHOLDS:
        raise UserError(f"task {task!r}: must be one of {', '.join(THRESHOLDS)}")
    kept = [question for question in questions if question.answers or task == "squad2"]
    if not kept:
        raise UserError(f"{source}: no question has an answer, {task} needs some; use squad2")
    return kept


def answer_all(
    predict: Predict, tokenizer: Tokenizer, questions: Sequence[Question], task: str, **settings: int
) -> Predictions:
    """`predict_questions` with the task's threshold; `settings` are its lengths and sizes."""
    return predict_questions(predict, tokenizer, questions, threshold=THRESHOLDS[task], **settings)


def task_scores(questions: Sequence[Question], texts: Mapping[str, str], task: str) -> dict[str, float | int]:
    """exact, f1 (percent) and total; for squad2 also HasAns_* and NoAns_*."""
    scores = score_predictions(questions, texts)
    return scores if task == "squad2" else {name: scores[name] for name in ("exact", "f1", "total")}


def model_scores(questions: Sequence[Question], predictions: Predictions, task: str) -> dict[str, float | int]:
    """`task_scores`; for squad2 also the best scores that any threshold would have given, with that threshold."""
    best = best_threshold(questions, predictions) if task == "squad2" else {}
    return task_scores(questions, predictions.texts, task) | best


def baselines(questions: Sequence[Question], task: str) -> dict[str, dict[str, Any]]:
    """`task_scores` of what answers without reading the question."""
    return {name: task_scores(questions, texts, task) for name, texts in baseline_predictions(questions).items()}


def check_questions(spec: str, task: str = "squad2") -> None:
    """UserError when there are no such questions for the task; the builtin set is not made for that."""
    if spec != BUILTIN:
        load_questions(spec, task)
        # The whole file too: an id may stand there twice, once in each part.
        load_heldout(spec, task)
