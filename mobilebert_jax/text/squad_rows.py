"""Rows of SQuAD data sets, `hf:` and `tfds:`, as the json file that they stand for."""

from collections.abc import Sequence
from typing import Any

from mobilebert_jax.text.tables import Record, has_splits, read_data_set
from mobilebert_jax.utils.errors import UserError

COLUMNS = ("id", "question", "context", "answers")
"""What a row needs; `title` and `is_impossible` may stand beside them."""


def read_squad_rows(spec: str, split: str) -> dict[str, Any]:
    """The questions of `hf:NAME[@SPLIT]` or `tfds:NAME[@SPLIT]` as SQuAD json; `split` where the spec names none.

    Columns are those of `squad` and `squad_v2` on the hub and in TFDS: id, title, context, question, and answers with
    text and answer_start. A row without answers is a question that has none. Rows of one passage that follow each other
    become one paragraph, paragraphs of one title one article.

    Raises:
        UserError: no such data set or split, no rows, or a row whose columns are not of this form.
    """
    articles: list[dict[str, Any]] = []
    for record in read_data_set(spec, split=split if has_splits(spec) else ""):
        title, passage, question = _question(record)
        if not articles or articles[-1]["title"] != title:
            articles.append({"title": title, "paragraphs": []})
        paragraphs = articles[-1]["paragraphs"]
        if not paragraphs or paragraphs[-1]["context"] != passage:
            paragraphs.append({"context": passage, "qas": []})
        paragraphs[-1]["qas"].append(question)
    if not articles:
        raise UserError(f"{spec}: no questions in it")
    return {"version": spec, "data": articles}


def _question(record: Record) -> tuple[str, str, dict[str, Any]]:
    """Title, passage, and what json has of the question."""
    for name in COLUMNS:
        if name not in record.values:
            there = ", ".join(record.values)
            raise UserError(
                f"{record.place}: no column {name!r}; questions need {', '.join(COLUMNS)}; there are {there}"
            )
    for name in ("question", "context"):
        if not isinstance(record.values[name], str):
            raise UserError(f"{record.place}: {name} is {type(record.values[name]).__name__}; a text is needed")
    answers = _answers(record)
    impossible = bool(record.values.get("is_impossible", not answers))
    if not impossible and not answers:
        raise UserError(f"{record.place}: no answers, and is_impossible is false")
    entry = {"id": str(record.values["id"]), "question": record.values["question"], "answers": answers}
    return str(record.values.get("title") or ""), record.values["context"], entry | {"is_impossible": impossible}


def _answers(record: Record) -> list[dict[str, Any]]:
    """The answers, which stand as a list of objects or as an object of lists."""
    answers = record.values["answers"]
    columns = {"text": str, "answer_start": int}
    if isinstance(answers, dict) and answers.keys() >= columns.keys():
        lists = [answers[name] for name in columns]
        if all(isinstance(values, Sequence) for values in lists) and len(lists[0]) == len(lists[1]):
            answers = [dict(zip(columns, pair, strict=True)) for pair in zip(*lists, strict=True)]
    for answer in answers if isinstance(answers, list) else [None]:
        if not isinstance(answer, dict) or not all(
            isinstance(answer.get(name), kind) for name, kind in columns.items()
        ):
            raise UserError(f"{record.place}: answers must have a text and a number answer_start each, or be empty")
    return answers
