import copy
import json

import pytest

from mobilebert_jax.text.question_sets import open_questions
from mobilebert_jax.text.squad_json import read_squad, split_squad
from mobilebert_jax.utils.errors import UserError


def article(title, passages=2):
    paragraphs = [
        {
            "context": f"{title} has passage {i}.",
            "qas": [
                {"id": f"{title}{i}", "question": "What?", "answers": [{"text": "has", "answer_start": len(title) + 1}]}
            ],
        }
        for i in range(passages)
    ]
    return {"title": title, "paragraphs": paragraphs}


def squad_of(*articles):
    return {"version": "1.1", "data": list(articles)}


def titles(squad):
    return [item["title"] for item in squad["data"]]


def test_a_file_is_split_by_article_a_tenth_held_out(tmp_path):
    squad = squad_of(*(article(f"T{i}") for i in range(30)))
    (tmp_path / "q.json").write_text(json.dumps(squad))
    parts = open_questions(str(tmp_path / "q.json"))
    assert len(titles(parts["heldout"])) == 3
    assert sorted(titles(parts["train"]) + titles(parts["heldout"])) == sorted(titles(squad))
    assert parts["train"]["version"] == "1.1"
    assert parts == split_squad(squad, 0.1)


def test_articles_of_one_title_stay_together():
    parts = split_squad(squad_of(article("A"), article("B"), article("A", 3)), 0.1)
    assert not set(titles(parts["train"])) & set(titles(parts["heldout"]))


def test_a_single_article_is_split_by_passage():
    parts = split_squad(squad_of(article("A", 20)), 0.1)
    sizes = {part: len(squad["data"][0]["paragraphs"]) for part, squad in parts.items()}
    assert sizes == {"train": 18, "heldout": 2}
    untitled = {"data": [{"paragraphs": article("A", 20)["paragraphs"]}]}
    assert len(split_squad(untitled, 0.1)["heldout"]["data"][0]["paragraphs"]) == 2


def test_a_single_passage_cannot_be_split():
    with pytest.raises(UserError, match="single passage"):
        split_squad(squad_of(article("A", 1)), 0.1)


def test_impossible_questions_need_no_answers_and_numbers_as_ids_become_strings(tmp_path):
    squad = squad_of(article("A"))
    squad["data"][0]["paragraphs"][0]["qas"] = [{"id": 7, "question": "Why?", "is_impossible": True, "answers": []}]
    (tmp_path / "q.json").write_text(json.dumps(squad))
    assert read_squad(tmp_path / "q.json")["data"][0]["paragraphs"][0]["qas"][0]["id"] == "7"


def remove(*path):
    def change(squad):
        for key in path[:-1]:
            squad = squad[key]
        del squad[path[-1]]

    return change


QUESTION = ("data", 0, "paragraphs", 1, "qas", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("data"), ": data: missing; SQuAD json has list there"),
        (remove("data", 0, "paragraphs"), r"data\[0\].paragraphs: missing"),
        (remove("data", 0, "paragraphs", 1, "context"), r"paragraphs\[1\].context: missing"),
        (remove("data", 0, "paragraphs", 1, "qas"), r"paragraphs\[1\].qas: missing"),
        (remove(*QUESTION, "id"), r"qas\[0\].id: missing"),
        (remove(*QUESTION, "question"), r"qas\[0\].question: missing"),
        (remove(*QUESTION, "answers"), r"qas\[0\].answers: missing"),
        (remove(*QUESTION, "answers", 0), r"qas\[0\].answers: empty"),
        (remove(*QUESTION, "answers", 0, "answer_start"), r"answers\[0\].answer_start: missing"),
        (lambda squad: squad.update(data={}), "data: dict; SQuAD json has list there"),
        (lambda squad: squad.update(data=[3]), r"data\[0\].paragraphs: missing"),
        (lambda squad: squad.update(data=[]), "no questions in it"),
    ],
)
def test_malformed_files_are_refused_with_the_place(tmp_path, change, message):
    squad = copy.deepcopy(squad_of(article("A")))
    change(squad)
    (tmp_path / "q.json").write_text(json.dumps(squad))
    with pytest.raises(UserError, match=message) as error:
        read_squad(tmp_path / "q.json")
    assert str(tmp_path / "q.json") in str(error.value)


def test_missing_files_and_broken_json_are_named(tmp_path):
    with pytest.raises(UserError, match=r"gone.json.*no such file"):
        read_squad(tmp_path / "gone.json")
    (tmp_path / "q.json").write_bytes(b"\xff{")
    with pytest.raises(UserError, match=r"q.json: not valid JSON"):
        read_squad(tmp_path / "q.json")
