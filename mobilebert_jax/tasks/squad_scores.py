"""SQuAD's exact match and F1, equal to the official evaluate-v1.1.py and evaluate-v2.0.py."""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.utils.errors import UserError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower case; without ASCII punctuation, articles and surplus white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def question_scores(
    questions: Sequence[Question], predictions: Mapping[str, str], task: str = "squad2"
) -> tuple[np.ndarray, np.ndarray]:
    """Exact match and F1 of each question, `[Q]` float64 in [0, 1]: the best over its answers.

    A question without answers is right only when nothing is predicted. The two scripts part ways where nothing is left
    of a text once it is normalised: for squad2 such an answer counts only where there is no other, and agrees with an
    empty prediction; for squad1 it has an F1 of 0 with everything. Raises UserError when a prediction is missing.
    """
    missing = [question.id for question in questions if question.id not in predictions]
    if missing:
        raise UserError(f"{len(missing)} of {len(questions)} questions have no prediction, the first is {missing[0]!r}")
    match = _best_match_1 if task == "squad1" else _best_match_2
    golds = [[normalize_answer(text) for text, _ in question.answers] or [""] for question in questions]
    said = [normalize_answer(predictions[question.id]) for question in questions]
    pairs = list(map(match, golds, said))
    exact, f1 = np.array(pairs, np.float64).reshape(-1, 2).T
    return exact, f1


def score_predictions(
    questions: Sequence[Question], predictions: Mapping[str, str], task: str = "squad2"
) -> dict[str, float | int]:
    """`exact`, `f1` in percent and `total`; the same for questions with (HasAns_) and without (NoAns_) an answer.

    Predictions go by question id, "" for no answer. A part without questions has total 0 and scores 0. Raises UserError
    when a prediction is missing.
    """
    exact, f1 = question_scores(questions, predictions, task)
    answered = np.array([bool(question.answers) for question in questions], bool)
    parts = {"": np.ones_like(answered), "HasAns_": answered, "NoAns_": ~answered}
    scores: dict[str, float | int] = {}
    for prefix, part in parts.items():
        total = int(part.sum())
        scores[f"{prefix}exact"] = 100 * float(exact[part].sum()) / max(total, 1)
        scores[f"{prefix}f1"] = 100 * float(f1[part].sum()) / max(total, 1)
        scores[f"{prefix}total"] = total
    return scores


def _best_match_1(golds: Sequence[str], predicted: str) -> tuple[bool, float]:
    return predicted in golds, max(_f1(predicted.split(), gold.split()) for gold in golds)


def _best_match_2(golds: Sequence[str], predicted: str) -> tuple[bool, float]:
    golds = [gold for gold in golds if gold] or [""]
    exact, f1 = _best_match_1(golds, predicted)
    return exact, f1 if predicted and golds[0] else float(exact)


def _f1(predicted: list[str], gold: list[str]) -> float:
    common = (Counter(predicted) & Counter(gold)).total()
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)
