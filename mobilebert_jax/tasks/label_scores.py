"""Metrics of labels and numbers, those of scikit-learn and scipy; averages as GLUE's leaderboard takes them."""

import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.utils.errors import UserError

CONSTANT = 0.0
"""What a correlation is where one side never changes (or has a single value), and scipy would say NaN."""


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """`sklearn.metrics.accuracy_score`."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predictions))


def f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """`sklearn.metrics.f1_score` of class 1; 0 where neither side has it."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels == 1, predictions == 1, zero_division=0.0))


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """`sklearn.metrics.f1_score`, the plain mean over the classes that either side has."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="macro", zero_division=0.0))


def matthews(labels: np.ndarray, predictions: np.ndarray) -> float:
    """`sklearn.metrics.matthews_corrcoef`; 0 where one side is constant."""
    from sklearn.metrics import matthews_corrcoef

    if _constant(labels) or _constant(predictions):
        return CONSTANT
    return float(matthews_corrcoef(labels, predictions))


def pearson(labels: np.ndarray, predictions: np.ndarray) -> float:
    """`scipy.stats.pearsonr` in float64; 0 where one side is constant."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, labels, predictions)


def spearman(labels: np.ndarray, predictions: np.ndarray) -> float:
    """`scipy.stats.spearmanr` in float64; 0 where one side is constant."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, labels, predictions)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
"""(labels [n], predictions [n]) -> figure; classes as numbers, or values."""


def label_scores(metrics: Sequence[str], labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """The metrics in percent, by name.

    Raises:
        UserError: a prediction is not finite, so the model is damaged.
    """
    if not np.isfinite(predictions).all():
        raise UserError(f"{int((~np.isfinite(predictions)).sum())} predictions are not finite; the model is damaged")
    return {name: 100.0 * METRICS[name](labels, predictions) for name in metrics}


def baseline_predictions(train: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """What says the same to everything: `majority_class` of the training labels (the first of equals), or `mean`."""
    if np.issubdtype(train.dtype, np.floating):
        return {"mean": np.full(count, train.mean(dtype=np.float64))}
    return {"majority_class": np.full(count, np.bincount(train).argmax())}


def task_score(scores: Mapping[str, Any]) -> float:
    """One number a task, as the leaderboard takes it: the mean of its metrics; of MNLI, of both its parts.

    `scores`: metric -> figure, or part -> metric -> figure.
    """
    values = [task_score(value) if isinstance(value, Mapping) else value for value in scores.values()]
    return statistics.fmean(values)


def scores_by_part(results: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Part of the dev set -> "student" or a baseline's name -> metric -> percent, of what results.json holds."""
    whose = {"student": results["student"], **results["baselines"]}
    parts = [part for part in results["examples"] if part != "train"]
    return {part: {name: scores.get(part, scores) for name, scores in whose.items()} for part in parts}


class GlueFigure(NamedTuple):
    """A figure of a task and the best baseline's; `part` is empty where the task has one alone."""

    task: str
    part: str
    metric: str
    value: float
    baseline: float


def glue_figures(results: Mapping[str, Mapping[str, Any]]) -> list[GlueFigure]:
    """Every figure of tasks whose results.json these are, task -> its own."""
    figures = []
    for task, own in results.items():
        parts = scores_by_part(own)
        for part, scores in parts.items():
            student, *baselines = scores.values()
            name = part if len(parts) > 1 else ""
            for metric, value in student.items():
                best = max(each[metric] for each in baselines)
                figures.append(GlueFigure(task, name, metric, value, best))
    return figures


def glue_averages(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, float | int]:
    """Means of `task_score` over tasks; `scores`: task -> as there.

    `average` is the leaderboard's: all nine tasks. `average_without_wnli` leaves WNLI out, whose dev set contradicts
    its training set, so that most papers do not report it. The diagnostic set is in neither. `tasks` counts those
    of the first; only with all nine is it comparable with the leaderboard.
    """
    counted = {name: task_score(own) for name, own in scores.items() if name in TASKS and name != "ax"}
    if not counted:
        raise UserError("no scores of GLUE's tasks to average")
    rest = [score for name, score in counted.items() if name != "wnli"]
    averages = {"tasks": len(counted), "average": statistics.fmean(counted.values())}
    return averages | ({"average_without_wnli": statistics.fmean(rest)} if rest else {})


def _constant(values: np.ndarray) -> bool:
    return len(values) == 0 or bool((values == values[0]).all())


def _correlation(function: Callable[..., Any], labels: np.ndarray, predictions: np.ndarray) -> float:
    if _constant(labels) or _constant(predictions):
        return CONSTANT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are nearly constant
        found = float(function(labels.astype(np.float64), predictions.astype(np.float64)).statistic)
    return found if np.isfinite(found) else CONSTANT
