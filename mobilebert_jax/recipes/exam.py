"""What a model says to a task's held-out examples, however it is computed: to compare a model with itself in 8 bits."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.inference.classifier import Classifier
from mobilebert_jax.inference.token_classifier import TokenClassifier
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.folder_config import CONFIG, FolderConfig, read_folder_config
from mobilebert_jax.recipes.evaluate_labels import class_order
from mobilebert_jax.recipes.labels import OWN_METRICS, part_scores, predictions
from mobilebert_jax.recipes.questions import THRESHOLDS, answer_all, load_heldout, task_scores
from mobilebert_jax.recipes.samples import evenly
from mobilebert_jax.recipes.tokens import TOKENS
from mobilebert_jax.tasks.examples import Examples, make_examples
from mobilebert_jax.tasks.glue_data import load_glue
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.label_scores import task_score
from mobilebert_jax.tasks.own_data import Columns, read_rows
from mobilebert_jax.tasks.token_data import TOKEN_COLUMNS, make_tagged, read_sentences
from mobilebert_jax.tasks.token_scores import token_score, token_scores
from mobilebert_jax.text.tables import REFUSE
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch

Run = Callable[[Batch], Any]
"""A batch to a head's outputs by their names, as an `inference.folders.Load` gives it."""


@dataclasses.dataclass(frozen=True)
class Said:
    """Logits of all examples end to end, one answer an example (a class, a number, a text, a word's tag), the score."""

    logits: np.ndarray
    answers: Sequence[Any]
    score: float


Exam = Callable[[Run], Said]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Which examples: of `task`, out of `dataset`, at most so many (0: all), cut to so many tokens (0: as usual)."""

    task: str
    dataset: str
    examples: int = 0
    sequence_length: int = 0
    columns: Columns | None = None
    bad_rows: str = ""
    batch_size: int = 32


def head_of(task: str) -> str:
    """The head that answers a task."""
    return "qa" if task in THRESHOLDS else "token_classification" if task == TOKENS else "classification"


def make_exam(model: str | Path, asked: Asked) -> Exam:
    """The exam of a model folder, which has the task's head.

    Raises:
        UserError: no such model or examples, or a model of another task.
    """
    found, tokenizer = read_folder_config(Path(model) / CONFIG), load_tokenizer(model)
    if found.head != head_of(asked.task):
        raise UserError(f"{model}: has no head for {asked.task}; `mobilebert finetune --task={asked.task}` trains one")
    make = _questions if asked.task in THRESHOLDS else _words if asked.task == TOKENS else _texts
    return make(found, tokenizer, asked, str(model))


def agreement(one: Said, other: Said) -> float:
    """Percent of the answers that are the same; of numbers, their correlation."""
    if isinstance(one.answers, np.ndarray) and one.answers.dtype == np.float64:
        return 100 * float(np.corrcoef(one.answers, other.answers)[0, 1])
    return 100 * float(np.mean([a == b for a, b in zip(one.answers, other.answers, strict=True)]))


def change(one: Said, other: Said) -> float:
    """How far the logits have moved: their root mean square difference over their deviation."""
    return float(np.sqrt(np.mean((other.logits - one.logits) ** 2)) / max(one.logits.std(), np.finfo(np.float32).tiny))


def _length(cfg: ModelConfig, asked: Asked, usual: int) -> int:
    return asked.sequence_length or min(usual, cfg.max_position_embeddings)


def _texts(found: FolderConfig, tokenizer: Tokenizer, asked: Asked, source: str) -> Exam:
    labels = found.labels if len(found.labels) > 1 else ()
    order: Any = slice(None)
    if asked.task in TASKS:
        own = TASKS[asked.task]
        order, metrics = class_order(labels, own.labels, f"{source}, {asked.task}"), own.metrics
        examples = load_glue(own, own.dev[0] if own.dev else own.parts[0], asked.dataset, asked.bad_rows or REFUSE)
    else:
        metrics = OWN_METRICS[asked.task]
        rows = read_rows(asked.dataset, asked.columns or Columns(), bad_rows=asked.bad_rows or REFUSE)
        examples = make_examples(rows, labels, asked.dataset)
    examples = _some(examples, asked.examples)
    length = _length(found.cfg, asked, Classifier.sequence_length)

    def exam(run: Run) -> Said:
        classifier = Classifier(lambda batch: run(batch).logits, tokenizer, labels, length, asked.batch_size)
        logits = classifier.logits(examples.texts, examples.text_pairs)[:, order]
        answers = predictions(logits)
        return Said(logits, answers, task_score(part_scores(metrics, {"dev": examples}, {"dev": answers})))

    return exam


def _some(examples: Examples, count: int) -> Examples:
    rows = evenly(len(examples), count or len(examples))
    pick = lambda column: None if column is None else tuple(column[row] for row in rows)  # noqa: E731
    return Examples(
        examples.source,
        pick(examples.indices),
        pick(examples.texts),
        pick(examples.text_pairs),
        None if examples.labels is None else examples.labels[rows],
    )


def _words(found: FolderConfig, tokenizer: Tokenizer, asked: Asked, source: str) -> Exam:
    sentences = read_sentences(asked.dataset, asked.columns or TOKEN_COLUMNS, asked.bad_rows or REFUSE)
    chosen = [sentences[row] for row in evenly(len(sentences), asked.examples or len(sentences))]
    tagged = make_tagged(chosen, found.labels, asked.dataset)
    length = _length(found.cfg, asked, TokenClassifier.sequence_length)

    def exam(run: Run) -> Said:
        tagger = TokenClassifier(lambda batch: run(batch).logits, tokenizer, found.labels, length, asked.batch_size)
        logits = tagger.logits(tagged.sentences)
        answers = logits.argmax(axis=1)
        return Said(logits, answers, token_score(token_scores(tagged, answers, found.labels)))

    return exam


def _questions(found: FolderConfig, tokenizer: Tokenizer, asked: Asked, source: str) -> Exam:
    questions = load_heldout(asked.dataset, asked.task)
    questions = [questions[row] for row in evenly(len(questions), asked.examples or len(questions))]
    length = _length(found.cfg, asked, 384)
    third = max(1, length // 3)
    settings = {"doc_stride": min(128, third), "max_query_length": min(64, third), "batch_size": asked.batch_size}

    def exam(run: Run) -> Said:
        seen = []

        def predict(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
            out = run(batch)
            ends = np.asarray(out.start_logits), np.asarray(out.end_logits)
            seen.extend(each[batch["attention_mask"] > 0] for each in ends)
            return ends

        found = answer_all(predict, tokenizer, questions, asked.task, sequence_length=length, **settings)
        texts = [found.texts[question.id] for question in questions]
        return Said(np.concatenate(seen), texts, task_scores(questions, found.texts, asked.task)["f1"])

    return exam
