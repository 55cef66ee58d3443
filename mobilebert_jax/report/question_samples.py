"""Held-out questions with the predicted and the right answer highlighted in the passage."""

import itertools
from typing import Any

from mobilebert_jax.report.markup import Markup, join, note, percent, tag
from mobilebert_jax.report.run_folder import RunFolder
from mobilebert_jax.text.question_sets import open_questions
from mobilebert_jax.utils.files import read_json

SHOWN = 8
MARGIN = 500
"""Characters of a long passage shown before and behind what is highlighted."""

Range = tuple[int, int]


def question_samples(run: RunFolder) -> Markup:
    """Questions at equal distances through the held-out set: neither the best nor the worst were picked."""
    folder, settings = run.path / "finetune", run.config["finetune"]
    spec, dev = settings["questions"], settings.get("dev", "")
    if not (folder / "nbest_predictions.json").is_file():
        return note("No questions have been answered yet.")
    texts, nbest = read_json(folder / "predictions.json"), read_json(folder / "nbest_predictions.json")
    asked = [(paragraph["context"], question) for paragraph, question in _heldout(spec, dev) if question["id"] in texts]
    answered = len(asked)
    asked = [pair for pair in asked if _fits(*pair, nbest[pair[1]["id"]])]
    if not asked:
        return note(f"The passages of {dev or spec} are not those that were answered; they may have changed since.")
    step = max(len(asked) / SHOWN, 1.0)
    chosen = [asked[int(index * step)] for index in range(min(SHOWN, len(asked)))]
    cards = [_card(passage, question, texts[question["id"]], nbest[question["id"]]) for passage, question in chosen]
    legend = join(tag("mark", "right answer", cls="gold"), " ", tag("mark", "predicted", cls="said"), " ")
    both = tag("mark", "both", cls="gold said")
    remark = f" · every {step:.0f}th of {len(asked)} held-out questions" if step > 1 else " · all held-out questions"
    if len(asked) < answered:
        remark += f"; the passages of {answered - len(asked)} others have changed since the run"
    return join(note(legend, both, remark), tag("div", *cards, cls="cards"))


def _heldout(spec: str, dev: str):
    for article in open_questions(spec, dev)["heldout"]["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield paragraph, question


def _fits(passage: str, question: dict[str, Any], candidates: list[dict[str, Any]]) -> bool:
    """Whether the predictions were made on this passage; another Python's builtin set has the same ids."""
    return all(passage[entry["start"] : entry["end"]] == entry["text"] for entry in candidates if entry["text"])


def _card(passage: str, question: dict[str, Any], said: str, candidates: list[dict[str, Any]]) -> Markup:
    answers = [] if question.get("is_impossible") else question["answers"]
    gold = [(answer["answer_start"], answer["answer_start"] + len(answer["text"])) for answer in answers]
    chosen = next((entry for entry in candidates if entry["text"] == said), None)
    guess = [(chosen["start"], chosen["end"])] if chosen and said else []
    kind, verdict = _verdict(gold, guess)
    sure = f" · {percent(chosen['probability'])} sure" if chosen else ""
    return tag(
        "article",
        tag("h4", question["question"]),
        tag("p", tag("span", verdict, cls=f"verdict {kind}"), sure, cls="note"),
        tag("div", _highlight(passage, gold, guess), cls="passage"),
    )


def _verdict(gold: list[Range], guess: list[Range]) -> tuple[str, str]:
    if not gold:
        return ("wrong", "answered where the passage has no answer") if guess else ("right", "rightly silent")
    if not guess:
        return "wrong", "silent where the passage has an answer"
    start, end = guess[0]
    if (start, end) in gold:
        return "right", "the right answer"
    overlaps = any(start < right_end and right_start < end for right_start, right_end in gold)
    return ("partly", "partly right") if overlaps else ("wrong", "another place")


def _highlight(passage: str, gold: list[Range], guess: list[Range]) -> Markup:
    """The passage cut wherever a highlight begins or ends; far from all of them it is left out."""
    places = [place for pair in (*gold, *guess) for place in pair]
    begin = max(min(places, default=0) - MARGIN, 0)
    end = min(max(places, default=MARGIN) + MARGIN, len(passage))
    cuts = sorted({begin, end, *(place for place in places if begin <= place <= end)})
    pieces: list[Any] = ["… "] if begin else []
    for left, right in itertools.pairwise(cuts):
        names = [name for name, spans in (("gold", gold), ("said", guess)) if _inside(left, right, spans)]
        text = passage[left:right]
        pieces.append(tag("mark", text, cls=" ".join(names)) if names else text)
    return join(*pieces, *([" …"] if end < len(passage) else []))


def _inside(left: int, right: int, spans: list[Range]) -> bool:
    return any(start <= left and right <= end for start, end in spans)
