"""Question sets as SQuAD json: read, checked, split."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json


def read_squad(path: str | Path) -> dict[str, Any]:
    """A SQuAD 1.1 or 2.0 file; UserError, naming file and place, when a needed field is missing or wrong.

    Needed are data[].paragraphs[].context and .qas[] with id, question and answers[] of text and answer_start;
    questions that say `is_impossible` need no answers. Everything stays as it is, only numbers as ids become strings.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"questions {str(path)!r}: no such file; a SQuAD json or builtin:python-docs-qa is needed")
    try:
        squad = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); a SQuAD json is needed") from error
    questions = 0
    for article, article_place in _objects(squad, "data", f"{path}: "):
        for paragraph, place in _objects(article, "paragraphs", article_place):
            _field(paragraph, "context", str, place)
            for question, question_place in _objects(paragraph, "qas", place):
                _check_question(question, question_place)
                questions += 1
    if not questions:
        raise UserError(f"{path}: no questions in it; a SQuAD json has them at data[].paragraphs[].qas[]")
    return squad


def split_squad(squad: dict[str, Any], heldout_fraction: float) -> dict[str, dict[str, Any]]:
    """`{"train": squad, "heldout": squad}`: that fraction of the articles, those whose titles hash lowest, is held out.

    At least one is; where there is one title only, passages are split in the same way. Raises UserError for a single
    passage.
    """
    by_title = len({article.get("title") for article in squad["data"]}) > 1

    def key(article: dict[str, Any], paragraph: dict[str, Any]) -> str:
        return str(article.get("title")) if by_title else paragraph["context"]

    keys = {key(article, paragraph) for article in squad["data"] for paragraph in article["paragraphs"]}
    if len(keys) < 2:
        raise UserError("the questions have a single passage; training and held-out questions need one each")
    ranked = sorted(keys, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest())
    heldout = set(ranked[: max(1, round(heldout_fraction * len(keys)))])

    def part(held_out: bool) -> dict[str, Any]:
        articles = []
        for article in squad["data"]:
            chosen = [p for p in article["paragraphs"] if (key(article, p) in heldout) == held_out]
            articles.extend([{**article, "paragraphs": chosen}] if chosen else [])
        return {**squad, "data": articles}

    return {"train": part(False), "heldout": part(True)}


def _check_question(question: dict[str, Any], place: str) -> None:
    question["id"] = str(_field(question, "id", str | int, place))
    _field(question, "question", str, place)
    if not question.get("is_impossible", False):
        answers = list(_objects(question, "answers", place))
        if not answers:
            raise UserError(f'{place}answers: empty, and the question does not say "is_impossible": true')
        for answer, answer_place in answers:
            _field(answer, "text", str, answer_place)
            _field(answer, "answer_start", int, answer_place)


def _objects(parent: Any, name: str, place: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of the list `parent[name]`, each with its place in the file."""
    for index, item in enumerate(_field(parent, name, list, place)):
        yield item, f"{place}{name}[{index}]."


def _field(parent: Any, name: str, kind: type | UnionType, place: str) -> Any:
    value = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(value, kind):
        found = "missing" if value is None else type(value).__name__
        raise UserError(f"{place}{name}: {found}; SQuAD json has {getattr(kind, '__name__', kind)} there")
    return value
