import math

import numpy as np
import pytest

from mobilebert_jax.recipes.questions import (
    THRESHOLDS,
    baselines,
    load_heldout,
    load_questions,
    model_scores,
    of_task,
    task_scores,
)
from mobilebert_jax.tasks.squad_predict import Predictions
from mobilebert_jax.utils.errors import UserError


@pytest.fixture
def path(tiny_run):
    return str(tiny_run.folder / "questions.json")


def test_a_file_is_split_by_title_for_training_and_read_whole_for_evaluation(path):
    train, heldout = load_questions(path, "squad2")
    assert (len(train), len(heldout)) == (44, 4)
    assert not {question.title for question in train} & {question.title for question in heldout}
    whole = load_heldout(path, "squad2")
    assert sorted(question.id for question in whole) == sorted(question.id for question in train + heldout)


def test_squad1_is_the_questions_with_an_answer(path):
    train, heldout = load_questions(path, "squad1")
    assert (len(train), len(heldout), len(load_heldout(path, "squad1"))) == (22, 2, 24)
    assert all(question.answers for question in train + heldout)
    assert THRESHOLDS["squad1"] == math.inf


def test_an_unknown_task_is_refused(path):
    with pytest.raises(UserError, match="task 'squad3': must be one of squad1, squad2"):
        load_questions(path, "squad3")
    with pytest.raises(UserError, match=r"x\.json: no question has an answer, squad1 needs some"):
        of_task([], "squad1", "x.json")


def test_scores_have_the_parts_that_belong_to_the_task(path):
    questions = load_heldout(path, "squad2")
    right = {question.id: question.answers[0][0] if question.answers else "" for question in questions}
    scores = task_scores(questions, right, "squad2")
    assert scores["exact"] == scores["f1"] == scores["HasAns_f1"] == scores["NoAns_f1"] == 100
    assert task_scores(questions, right, "squad1") == {"exact": 100, "f1": 100, "total": 48}


def test_the_best_threshold_is_reported_for_squad2_alone(path):
    questions = load_heldout(path, "squad2")
    nbest = {q.id: [{"text": q.answers[0][0] if q.answers else "wrong"}] for q in questions}
    odds = {q.id: -1.0 if q.answers else 2.0 for q in questions}
    predictions = Predictions(dict.fromkeys(nbest, ""), nbest, odds)
    scores = model_scores(questions, predictions, "squad2")
    assert (scores["f1"], scores["best_f1"], scores["best_f1_thresh"]) == (50, 100, -1.0)
    assert "best_f1" not in model_scores(questions, predictions, "squad1")


def test_baselines_are_scored_like_the_model(path):
    found = baselines(load_heldout(path, "squad2"), "squad2")
    assert found["no_answer"]["exact"] == found["first_sentence"]["exact"] == 50
    assert np.isclose(found["first_sentence"]["HasAns_f1"], 100)
    assert "HasAns_f1" not in baselines(load_heldout(path, "squad1"), "squad1")["no_answer"]
