import logging

import pytest

from mobilebert_jax.tasks.squad_answers import answer_span, trainable
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.utils.errors import UserError


def ask(passage, *answers, identity="q"):
    return Question(identity, "", "Who ran?", passage, answers, not answers)


@pytest.mark.parametrize(
    ("passage", "answer", "start", "found"),
    [
        ("the cat sat on", "cat", 4, "cat"),
        ("the cat sat on", "cat", 5, "cat"),  # a little late, still in the word
        ("the cat\n sat on", "cat sat", 4, "cat\n sat"),
        ("the cat sat on", " cat ", 3, " cat "),
        ("the cat sat on", " cat", 4, "cat"),
        ("the cat sat on", "dog", 4, None),
        ("the cat sat on", "cat", 11, None),
        ("the cat sat on", "cat", 99, None),
        ("the cat sat on", "cat", -3, None),
        ("the cat sat on", " ", 3, None),
        ("", "cat", 0, None),
    ],
)
def test_an_answer_is_recovered_from_the_words_it_touches_or_its_question_named(caplog, passage, answer, start, found):
    question, other = ask(passage, (answer, start), identity="this"), ask("the mat", identity="other")
    span = answer_span(question)
    assert (passage[slice(*span)] if span else None) == found
    with caplog.at_level(logging.WARNING):
        kept = trainable([question, other], "q.json")
    assert [each.id for each in kept] == (["this", "other"] if found else ["other"])
    said = "q.json: 1 of 2 questions left out: answer not found in the passage (this)"
    assert (said in caplog.text) == (found is None)


def test_no_answer_is_an_empty_span():
    assert answer_span(ask("the cat")) == (0, 0)


def test_refused_answers_name_the_source_the_questions_and_the_first_place():
    wrong = [ask("the cat", ("dog", 4), identity=str(number)) for number in range(7)]
    with pytest.raises(UserError, match=r"q\.json: 7 of 8 .* \(0, 1, 2, 3, 4, \.\.\.; the first, 'dog', .* 4\)"):
        trainable([*wrong, ask("the mat")], "q.json", "refuse")
    assert len(trainable([ask("the mat")], "q.json", "refuse")) == 1


def test_nothing_left_to_train_on_is_an_error():
    with pytest.raises(UserError, match=r"q\.json: none of 1 questions can be trained on"):
        trainable([ask("the cat", ("dog", 0))], "q.json")


def test_empty_passages_are_counted(caplog):
    with caplog.at_level(logging.WARNING):
        assert len(trainable([ask(" \n"), ask("the mat")], "q.json")) == 2
    assert "q.json: 1 questions have an empty passage (q)" in caplog.text
