"""SQuAD 1.1 and 2.0 as a list of questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mobilebert_jax.utils.errors import UserError


@dataclass(frozen=True)
class Question:
    """One question; `answers` holds (text, first character in the passage), several where people disagreed."""

    id: str
    title: str
    question: str
    passage: str
    answers: tuple[tuple[str, int], ...]
    is_impossible: bool


def parse_squad(squad: dict[str, Any], source: str) -> list[Question]:
    """The questions of a decoded SQuAD file that is of SQuAD's form; `source` is what an error calls it.

    Raises:
        UserError: two different questions have one id.
    """
    questions = [
        Question(
            id=entry["id"],
            title=article.get("title", ""),
            question=entry["question"],
            passage=paragraph["context"],
            answers=tuple((answer["text"], answer["answer_start"]) for answer in _answers(entry)),
            is_impossible=_is_impossible(entry),
        )
        for article in squad["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    ]
    check_ids(questions, source)
    return questions


def _is_impossible(entry: dict[str, Any]) -> bool:
    return bool(entry.get("is_impossible", False))


def _answers(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [] if _is_impossible(entry) else entry["answers"]


def check_ids(questions: Sequence[Question], source: str) -> None:
    """Predictions go by id: a question may stand there twice; UserError where two questions share an id."""
    asked: dict[str, tuple[str, str]] = {}
    for question in questions:
        content = question.question, question.passage
        if asked.setdefault(question.id, content) != content:
            raise UserError(f"{source}: two different questions have the id {question.id!r}; each needs its own")
