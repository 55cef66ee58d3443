"""Question sets and how a model does on them: what fine-tuning, `run` and `evaluate` share."""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.inference.predictor import Predict
from mobilebert_jax.recipes.workdir import file_input
from mobilebert_jax.tasks.baselines import baseline_predictions
from mobilebert_jax.tasks.squad_answers import trainable, warn_of_empty_passages
from mobilebert_jax.tasks.squad_data import Question, check_ids, parse_squad
from mobilebert_jax.tasks.squad_predict import Predictions, best_threshold, predict_questions
from mobilebert_jax.tasks.squad_scores import score_predictions
from mobilebert_jax.text.question_sets import open_questions, read_heldout
from mobilebert_jax.text.tables import is_data_set
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError

_LOG = logging.getLogger(__name__)

THRESHOLDS = {"squad1": math.inf, "squad2": 0.0}
"""The tasks: in SQuAD 1.1 every question has an answer, in 2.0 "no answer" wins above the threshold."""


@dataclass(frozen=True)
class QuestionSets:
    """What is trained on, and what decides."""

    task: str
    train: list[Question]
    dev: list[Question]


def load_question_sets(settings: ConfigDict, task: str) -> QuestionSets:
    """The sets that `config.finetune` names by `questions` and `dev`.

    Raises:
        UserError: no such task, set or split, or answers that `bad_answers` refuses.
    """
    parts = open_questions(settings.questions, settings.dev)
    sources = {"train": settings.questions, "heldout": settings.dev or settings.questions}
    train, dev = (of_task(parse_squad(parts[part], source), task, source) for part, source in sources.items())
    if not settings.dev:
        # An id may stand there twice, once in each part.
        check_ids([*train, *dev], settings.questions)
    train = trainable(train, settings.questions, settings.bad_answers)
    return QuestionSets(task, train, dev)


def question_inputs(settings: ConfigDict) -> dict[str, str]:
    """Fingerprints of what `config.finetune` names by `questions` and `dev`, for `claim`: of files or of data sets."""
    contents = {"questions": open_questions, "dev": read_heldout}
    inputs = {}
    for name, read in contents.items():
        spec = settings[name] if settings.questions else ""
        if is_data_set(spec):
            text = json.dumps(read(spec), sort_keys=True)
            inputs[f"finetune.{name}"] = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        elif spec and not spec.startswith("builtin:"):
            inputs[f"finetune.{name}"] = file_input(f"finetune.{name}", spec)
    return inputs


def load_heldout(spec: str, task: str) -> list[Question]:
    """What a finished model is asked: the builtin set's held-out part, all of a file, a data set's `validation`."""
    questions = of_task(parse_squad(read_heldout(spec), spec), task, spec)
    warn_of_empty_passages(questions, spec)
    return questions


def of_task(questions: Sequence[Question], task: str, source: str) -> list[Question]:
    """The questions that belong to the task: for squad1, those with an answer; a warning counts the others.

    Raises:
        UserError: no such task, or none of the questions belongs to it.
    """
    if task not in THRESHOLDS:
        raise UserError(f"task {task!r}: must be one of {', '.join(THRESHOLDS)}")
    kept = [question for question in questions if question.answers or task == "squad2"]
    if not kept:
        raise UserError(f"{source}: no question has an answer, {task} needs some; use squad2")
    if left := len(questions) - len(kept):
        _LOG.warning("%s: %d of %d questions have no answer; %s leaves them out", source, left, len(questions), task)
    return kept


def answer_all(
    predict: Predict, tokenizer: Tokenizer, questions: Sequence[Question], task: str, **settings: Any
) -> Predictions:
    """`predict_questions` with the task's threshold; `settings` are its lengths and sizes."""
    return predict_questions(predict, tokenizer, questions, threshold=THRESHOLDS[task], **settings)


def task_scores(questions: Sequence[Question], texts: Mapping[str, str], task: str) -> dict[str, float | int]:
    """exact, f1 (percent) and total; for squad2 also HasAns_* and NoAns_*."""
    scores = score_predictions(questions, texts, task)
    return scores if task == "squad2" else {name: scores[name] for name in ("exact", "f1", "total")}


def model_scores(questions: Sequence[Question], predictions: Predictions, task: str) -> dict[str, float | int]:
    """`task_scores`; for squad2 also the best scores that any threshold would have given, with that threshold."""
    best = best_threshold(questions, predictions) if task == "squad2" else {}
    return task_scores(questions, predictions.texts, task) | best


def baselines(questions: Sequence[Question], task: str) -> dict[str, dict[str, Any]]:
    """`task_scores` of what answers without reading the question."""
    return {name: task_scores(questions, texts, task) for name, texts in baseline_predictions(questions).items()}
