"""`builtin:python-docs-qa`: questions that ask what the functions of the standard library do."""

import functools
import hashlib
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from mobilebert_jax.text.docstring_prose import paragraphs
from mobilebert_jax.text.python_library import library_docstrings
from mobilebert_jax.text.sentences import split_sentences

BUILTIN = "builtin:python-docs-qa"

# A passage and its question fit 80 word pieces of a small vocabulary.
ENTRIES = (3, 4, 5)
PASSAGE_CHARACTERS = 200
NAME_CHARACTERS = 40
SUMMARY_WORDS = range(3, 13)

HELDOUT_FRACTION = 0.17
"""Of the top-level packages of the standard library."""
ROUNDS = {"train": 12, "heldout": 2}
"""How often each module's entries are grouped anew."""
QUESTIONS = 2
"""Questions a passage."""
NO_ANSWER_PROBABILITY = 0.25
QUALIFIED_PROBABILITY = 0.5
"""How often a question says `json.loads`, where the passage, like the page of a module, says `loads`."""

PHRASINGS = {
    "class": (
        "What is {name}?",
        "What is the class {name}?",
        "What is {name} for?",
        "How is {name} described?",
    ),
    "function": (
        "What does {name} do?",
        "What does the function {name} do?",
        "What is {name} for?",
        "What is the purpose of {name}?",
    ),
    "method": (
        "What does {name} do?",
        "What does the method {name} do?",
        "What is {name} for?",
        "What is the purpose of {name}?",
    ),
}


@dataclass(frozen=True)
class Entry:
    """What a passage says about one class, function or method; `name` is the one inside the module."""

    module: str
    name: str
    kind: str
    summary: str

    @property
    def heading(self) -> str:
        """The name on a line of its own: 'loads' and a line feed."""
        return f"{self.name}\n"

    @property
    def text(self) -> str:
        """Two lines: 'loads', 'Deserialize a document.'"""
        return f"{self.heading}{self.summary}."


def build_questions(seed: int = 0) -> dict[str, dict[str, Any]]:
    """`{"train": squad, "heldout": squad}`, SQuAD 2.0, made from the standard library's docstrings.

    A passage has the entries of 3 to 5 functions, classes or methods of one module, each a name on a line and a summary
    on the next; a question names one of them, with the module or without, and its answer is the summary, without the
    full stop; a quarter of the questions name another of that module and have no answer. A top-level package is wholly
    in one part, whatever the seed. Raises UserError when this Python carries no sources.
    """
    articles: dict[str, list[dict[str, Any]]] = {"train": [], "heldout": []}
    for module, entries in module_entries().items():
        part = "heldout" if _fraction_of(module.split(".")[0]) < HELDOUT_FRACTION else "train"
        rng = random.Random(f"{seed}/{module}")
        groups = [group for _ in range(ROUNDS[part]) for group in _group(entries, rng)]
        if groups:
            passages = [_passage(f"{module}-{index}", group, entries, rng) for index, group in enumerate(groups)]
            articles[part].append({"title": module, "paragraphs": passages})
    return {part: {"version": "v2.0", "data": data} for part, data in articles.items()}


@functools.cache
def module_entries() -> dict[str, tuple[Entry, ...]]:
    """Public names by module, with summaries of 3 to 12 words that stand nowhere else in the module."""
    found = defaultdict(list)
    for docstring in library_docstrings():
        module, name = docstring.module, docstring.name
        qualified = f"{module}.{name}"
        private = any(part.startswith("_") for part in qualified.split("."))
        if docstring.kind == "module" or len(qualified) > NAME_CHARACTERS or private:
            continue
        if summary := _summary(docstring.text):
            found[module].append(Entry(module, name, docstring.kind, summary))
    return {module: _unambiguous(entries) for module, entries in found.items()}


def _unambiguous(entries: list[Entry]) -> tuple[Entry, ...]:
    names = Counter(entry.name for entry in entries)
    text = "\n".join(entry.text for entry in entries).lower()
    return tuple(e for e in entries if names[e.name] == 1 and text.count(e.summary.lower()) == 1)


def _summary(docstring: str) -> str | None:
    """The docstring's first sentence without its full stop, if that is prose, complete and of the right length."""
    prose = paragraphs(docstring.strip().split("\n\n")[0])
    sentence = split_sentences(prose[0])[0] if prose else ""
    if sentence.endswith((":", "e.g.", "i.e.")) or len(sentence.split()) not in SUMMARY_WORDS:
        return None
    return sentence.rstrip(" .")


def _fraction_of(package: str) -> float:
    # The prefix was chosen so that the held-out packages have about 17% of the entries too.
    return int.from_bytes(hashlib.sha256(f"python/{package}".encode()).digest()[:8], "big") / 2**64


def _group(entries: tuple[Entry, ...], rng: random.Random) -> list[list[Entry]]:
    """The entries in random order, cut into passages; what is too few for the last one is left out."""
    groups: list[list[Entry]] = [[]]
    size = rng.choice(ENTRIES)
    for entry in rng.sample(entries, len(entries)):
        groups[-1].append(entry)
        length = sum(len(e.text) for e in groups[-1])
        if len(groups[-1]) == size or (length > PASSAGE_CHARACTERS and len(groups[-1]) >= min(ENTRIES)):
            groups.append([])
            size = rng.choice(ENTRIES)
    return [group for group in groups if len(group) >= min(ENTRIES)]


def _passage(identity: str, group: list[Entry], entries: tuple[Entry, ...], rng: random.Random) -> dict[str, Any]:
    """One SQuAD paragraph with its questions."""
    absent = [entry for entry in entries if entry not in group]
    asked = rng.sample(group, QUESTIONS)
    questions = []
    for number, entry in enumerate(asked):
        impossible = bool(absent) and rng.random() < NO_ANSWER_PROBABILITY
        entry = rng.choice(absent) if impossible else entry
        start = sum(len(e.text) + 1 for e in group[: group.index(entry)]) if not impossible else 0
        answer = {"text": entry.summary, "answer_start": start + len(entry.heading)}
        name = f"{entry.module}.{entry.name}" if rng.random() < QUALIFIED_PROBABILITY else entry.name
        questions.append(
            {
                "id": f"{identity}-{number}",
                "question": rng.choice(PHRASINGS[entry.kind]).format(name=name),
                "answers": [] if impossible else [answer],
                "is_impossible": impossible,
            }
        )
    return {"context": "\n".join(entry.text for entry in group), "qas": questions}
