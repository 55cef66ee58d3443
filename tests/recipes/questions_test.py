import json
import logging
import math

import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.questions import (
    THRESHOLDS,
    baselines,
    load_heldout,
    load_question_sets,
    model_scores,
    of_task,
    question_inputs,
    task_scores,
)
from mobilebert_jax.tasks.squad_predict import Predictions
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json


@pytest.fixture
def path(tiny_run):
    return str(tiny_run.folder / "questions.json")


def load_sets(path, task="squad2", *more):
    sets = load_question_sets(load_config("demo", [f"finetune.questions={path}", *more]).finetune, task)
    return sets.train, sets.dev


def test_a_file_is_split_by_title_for_training_and_read_whole_for_evaluation(path):
    train, heldout = load_sets(path)
    assert (len(train), len(heldout)) == (44, 4)
    assert not {question.title for question in train} & {question.title for question in heldout}
    whole = load_heldout(path, "squad2")
    assert sorted(question.id for question in whole) == sorted(question.id for question in train + heldout)


def test_with_a_dev_set_all_is_trained_on_and_all_of_that_decides(path, tmp_path):
    dev = tmp_path / "dev.json"
    squad = read_json(path)
    dev.write_text(json.dumps({**squad, "data": squad["data"][:3]}))
    train, heldout = load_sets(path, "squad2", f"finetune.dev={dev}")
    assert (len(train), len(heldout)) == (48, 6)
    settings = load_config("demo", [f"finetune.questions={path}", f"finetune.dev={dev}"]).finetune
    inputs = question_inputs(settings)
    assert inputs.keys() == {"finetune.questions", "finetune.dev"}
    dev.write_text(dev.read_text() + " ")
    assert question_inputs(settings)["finetune.dev"] != inputs["finetune.dev"]
    assert question_inputs(load_config("demo", []).finetune) == {}


def test_squad1_is_the_questions_with_an_answer_and_says_how_many_are_not(path, caplog):
    with caplog.at_level(logging.WARNING):
        train, heldout = load_sets(path, "squad1")
    assert "2 of 4 questions have no answer; squad1 leaves them out" in caplog.text
    assert (len(train), len(heldout), len(load_heldout(path, "squad1"))) == (22, 2, 24)
    assert all(question.answers for question in train + heldout)
    assert THRESHOLDS["squad1"] == math.inf


def test_an_unknown_task_is_refused(path):
    with pytest.raises(UserError, match="task 'squad3': must be one of squad1, squad2"):
        load_sets(path, "squad3")
    with pytest.raises(UserError, match=r"x\.json: no question has an answer, squad1 needs some"):
        of_task([], "squad1", "x.json")


def test_answers_elsewhere_are_named_and_left_out_or_refused(path, tmp_path, caplog):
    squad = read_json(path)
    for article in squad["data"][:3]:
        article["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 9999
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(squad))
    with caplog.at_level(logging.WARNING):
        train, _ = load_sets(bad, "squad2", f"finetune.dev={path}")
    assert len(train) == 45
    assert "3 of 48 questions left out: answer not found in the passage (0-a, 1-a, 2-a)" in caplog.text
    with pytest.raises(
        UserError, match=r"3 of 48 answers are not in their passages \(0-a, 1-a, 2-a; .*--bad_answers=drop"
    ):
        load_sets(bad, "squad2", f"finetune.dev={path}", "finetune.bad_answers=refuse")


def test_one_id_for_two_questions_is_refused_across_both_parts(path, tmp_path):
    squad = read_json(path)
    _, heldout = load_sets(path)
    squad["data"][-1]["paragraphs"][0]["qas"][0]["id"] = heldout[0].id
    (tmp_path / "twice.json").write_text(json.dumps(squad))
    with pytest.raises(UserError, match=f"two different questions have the id '{heldout[0].id}'"):
        load_sets(tmp_path / "twice.json")


def test_presets_lie_in_the_paper_s_grid_and_shrink_with_the_model():
    for task in THRESHOLDS:
        settings = load_config(f"squad:{task}", []).finetune
        assert settings.batch_size in (16, 32, 48) and 2 <= settings.epochs <= 10
        assert 1e-5 <= settings.optimizer.learning_rate <= 1e-4
        assert (settings.sequence_length, settings.doc_stride, settings.max_query_length) == (384, 128, 64)
    small = load_config("squad:squad1,128", []).finetune
    assert (small.sequence_length, small.doc_stride, small.max_query_length) == (128, 42, 21)


def test_scores_have_the_parts_that_belong_to_the_task(path):
    questions = load_heldout(path, "squad2")
    right = {question.id: question.answers[0][0] if question.answers else "" for question in questions}
    scores = task_scores(questions, right, "squad2")
    assert scores["exact"] == scores["f1"] == scores["HasAns_f1"] == scores["NoAns_f1"] == 100
    answered = load_heldout(path, "squad1")
    assert task_scores(answered, right, "squad1") == {"exact": 100, "f1": 100, "total": 24}


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
