"""Every metric beside the library's own, on random and on degenerate inputs."""

import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.tasks.label_scores import (
    METRICS,
    baseline_predictions,
    glue_averages,
    label_scores,
    task_score,
)
from mobilebert_jax.utils.errors import UserError

OF_CLASSES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "matthews": sklearn.metrics.matthews_corrcoef,
    "macro_f1": lambda y, x: sklearn.metrics.f1_score(y, x, average="macro", zero_division=0.0),
}
OF_NUMBERS = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}


def pairs_of(values, least=1):
    return st.lists(st.tuples(values, values), min_size=least, max_size=40).map(lambda rows: np.array(rows).T)


@settings(deadline=None, max_examples=60)  # the first call imports the library
@given(pairs_of(st.integers(0, 3)))
def test_metrics_of_classes_are_those_of_scikit_learn(pair):
    labels, said = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, reference in OF_CLASSES.items():
            assert METRICS[name](labels, said) == pytest.approx(reference(labels, said), rel=1e-12, abs=1e-15), name


@settings(deadline=None, max_examples=60)  # the first call imports the library
@given(pairs_of(st.integers(0, 1)))
def test_f1_is_that_of_class_one(pair):
    labels, said = pair
    expected = sklearn.metrics.f1_score(labels, said, zero_division=0.0)
    assert METRICS["f1"](labels, said) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=60)  # the first call imports the library
@given(pairs_of(st.floats(-100, 100, allow_subnormal=False), 2))
def test_correlations_are_those_of_scipy_and_never_nan(pair):
    labels, said = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, reference in OF_NUMBERS.items():
            expected = float(reference(labels, said).statistic)
            assert METRICS[name](labels, said) == pytest.approx(0.0 if np.isnan(expected) else expected, rel=1e-12)


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman"])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_constant_predictions_and_labels_are_worth_nothing(name, count):
    changing = np.arange(count) % 2
    for labels, said in ((changing, np.ones(count, int)), (np.zeros(count, int), changing)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert METRICS[name](labels, said) == 0.0


def test_float32_labels_are_correlated_in_float64():
    rng = np.random.default_rng(0)
    labels = (1e4 + rng.normal(size=500)).astype(np.float32)
    said = labels.astype(np.float64) + rng.normal(size=500)
    expected = scipy.stats.pearsonr(labels.astype(np.float64), said).statistic
    assert METRICS["pearson"](labels, said) == pytest.approx(expected, rel=1e-12)


def test_scores_are_percent_and_damaged_predictions_are_refused():
    labels = np.array([0, 1, 1, 0])
    assert label_scores(("accuracy", "f1"), labels, np.array([0, 1, 0, 0])) == {
        "accuracy": 75.0,
        "f1": pytest.approx(200 / 3),
    }
    with pytest.raises(UserError, match="1 predictions are not finite; the model is damaged"):
        label_scores(("pearson",), labels.astype(float), np.array([0.0, np.nan, 1.0, 2.0]))


def test_baselines_say_the_same_to_everything():
    found = baseline_predictions(np.array([1, 0, 1, 2], np.int32), 3)
    assert {name: own.tolist() for name, own in found.items()} == {"majority_class": [1, 1, 1]}
    found = baseline_predictions(np.array([1.0, 2.0], np.float32), 2)
    assert {name: own.tolist() for name, own in found.items()} == {"mean": [1.5, 1.5]}


def test_averages_are_the_leaderboard_s():
    scores = {
        "cola": {"matthews": 50.0},
        "mrpc": {"accuracy": 80.0, "f1": 90.0},
        "mnli": {"dev_matched": {"accuracy": 83.0}, "dev_mismatched": {"accuracy": 81.0}},
        "wnli": {"accuracy": 65.0},
        "ax": {"matthews": 30.0},
    }
    assert task_score(scores["mrpc"]) == 85.0 and task_score(scores["mnli"]) == 82.0
    found = glue_averages(scores)
    assert found == {"tasks": 4, "average": 70.5, "average_without_wnli": pytest.approx(217 / 3)}
    assert "average_without_wnli" not in glue_averages({"wnli": {"accuracy": 65.0}})
    with pytest.raises(UserError, match="no scores of GLUE's tasks"):
        glue_averages({"ax": {"matthews": 30.0}})
