import json

import pytest

from mobilebert_jax.tasks.squad_data import Question, parse_squad
from mobilebert_jax.text.question_sets import read_questions
from mobilebert_jax.utils.errors import UserError

PASSAGE = "Cats sleep. Dogs run."


def load(path):
    return parse_squad(read_questions(str(path), "train"), str(path))


def squad(*entries, passage=PASSAGE):
    return {"version": "v2.0", "data": [{"title": "Pets", "paragraphs": [{"context": passage, "qas": list(entries)}]}]}


def entry(identity, text="Cats", start=0, **more):
    answers = [{"text": text, "answer_start": start}]
    return {"id": identity, "question": f"Who {identity}?", "answers": answers} | more


def test_questions_of_both_versions_are_read(tmp_path):
    path = tmp_path / "pets.json"
    none = {"is_impossible": True, "answers": [], "plausible_answers": [{"text": "Dogs", "answer_start": 12}]}
    path.write_text(json.dumps(squad(entry("sleeps"), entry("flies", **none))))
    assert load(path) == [
        Question("sleeps", "Pets", "Who sleeps?", PASSAGE, (("Cats", 0),), False),
        Question("flies", "Pets", "Who flies?", PASSAGE, (), True),
    ]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": "1.1"}', '{"data": []}', json.dumps(squad({"id": "x"}))]
)
def test_a_file_of_another_form_is_refused_by_name(tmp_path, content):
    path = tmp_path / "wrong.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"wrong\.json") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.json"):
        load(tmp_path / "nowhere.json")


def test_one_id_for_two_questions_is_refused():
    with pytest.raises(UserError, match="pets: two different questions have the id 'same'"):
        parse_squad(squad(entry("same"), entry("same", question="Another?")), "pets")


def test_a_question_that_stands_there_twice_is_kept_twice():
    assert len(parse_squad(squad(entry("same"), entry("same", text="Dogs", start=12)), "pets")) == 2
