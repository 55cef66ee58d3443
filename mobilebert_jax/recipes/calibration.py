"""Examples on which the ranges of activations are measured: some of a task's, or of any text."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.quantization.recipe import INPUTS, Samples
from mobilebert_jax.recipes.labels import CLASSIFICATION
from mobilebert_jax.recipes.questions import THRESHOLDS, of_task
from mobilebert_jax.recipes.tokens import TOKENS
from mobilebert_jax.tasks.examples import make_examples
from mobilebert_jax.tasks.glue_data import load_glue
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.own_data import Columns, read_rows
from mobilebert_jax.tasks.squad_data import Question, parse_squad
from mobilebert_jax.tasks.token_data import TOKEN_COLUMNS, read_sentences
from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.text.lengths import LENGTH_MULTIPLE
from mobilebert_jax.text.pairs import Pairs
from mobilebert_jax.text.question_sets import open_questions
from mobilebert_jax.text.tables import REFUSE
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.windows import build_windows
from mobilebert_jax.text.words import WordRows
from mobilebert_jax.utils.errors import UserError

EXAMPLES = 128
"""How many are enough: the largest values of 128 examples come back in any others."""

PARAGRAPHS = 10_000
"""How far a text is read."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """How many examples of how many tokens at most; the columns of your own labels."""

    examples: int = EXAMPLES
    sequence_length: int = 128
    columns: Columns | None = None
    bad_rows: str = ""


def read_samples(spec: str, task: str, model: str | Path, tokenizer: Tokenizer, wanted: Wanted) -> Samples:
    """Samples from what `spec` names: training examples of `task`, or without a task the paragraphs of a text.

    Raises:
        UserError: nothing there, or nothing of that form; labels that are not the task's, or not the model's.
    """
    length = wanted.sequence_length
    bad_rows = wanted.bad_rows or REFUSE
    if not task:
        documents = open_corpus(spec)
        paragraphs = itertools.chain.from_iterable(document.splitlines() for document in documents)
        return of_texts(tokenizer, list(itertools.islice(paragraphs, PARAGRAPHS)), None, length, wanted.examples)
    if task in THRESHOLDS:
        questions = of_task(parse_squad(open_questions(spec)["train"], spec), task, spec)
        return of_questions(tokenizer, questions, length, wanted.examples)
    if task == TOKENS:
        sentences = read_sentences(spec, wanted.columns or TOKEN_COLUMNS, bad_rows)
        return of_words(tokenizer, [each.words for each in sentences], length, wanted.examples)
    if task in TASKS:
        examples = load_glue(TASKS[task], "train" if TASKS[task].dev else "diagnostic", spec, bad_rows)
    else:
        labels = read_folder_config(Path(model) / CONFIG).labels if task == CLASSIFICATION else ()
        examples = make_examples(read_rows(spec, wanted.columns or Columns(), bad_rows=bad_rows), labels, spec)
    return of_texts(tokenizer, examples.texts, examples.text_pairs, length, wanted.examples)


def of_texts(
    tokenizer: Tokenizer, texts: Sequence[str], text_pairs: Sequence[str] | None, length: int, count: int
) -> Samples:
    """`count` of the texts, or of the pairs, evenly chosen."""
    rows = _evenly(len(texts), count)
    pairs = None if text_pairs is None else [text_pairs[row] for row in rows]
    made = Pairs.build(tokenizer, [texts[row] for row in rows], pairs, length)
    return _trimmed(made.batch(np.arange(len(made)), length))


def of_questions(tokenizer: Tokenizer, questions: Sequence[Question], length: int, count: int) -> Samples:
    """A window over the passage for each of `count` questions, evenly chosen: the first, the second, ... in turn."""
    asked = [questions[row] for row in _evenly(len(questions), count)]
    third = max(1, length // 3)
    windows = build_windows(
        tokenizer,
        [each.question for each in asked],
        [each.passage for each in asked],
        sequence_length=length,
        doc_stride=min(128, third),
        max_query_length=min(64, third),
    )
    return _trimmed(windows.batch(_evenly(len(windows), count), length))


def of_words(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], length: int, count: int) -> Samples:
    """`count` of the sentences, evenly chosen."""
    rows = WordRows.build(tokenizer, [sentences[row] for row in _evenly(len(sentences), count)], length)
    return _trimmed(rows.pairs.batch(_evenly(len(rows), count), length))


def _evenly(there: int, count: int) -> np.ndarray:
    """At most `count` of the numbers below `there`: sorted sets are met in all their parts."""
    if there == 0:
        raise UserError("no examples to calibrate with")
    return np.unique(np.linspace(0, there - 1, min(there, count)).round().astype(np.int64))


def _trimmed(batch: Samples) -> Samples:
    """Without the columns that are padding in every row, up to a multiple of 8."""
    longest = int(batch["attention_mask"].sum(axis=1).max())
    columns = -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    return {name: np.asarray(batch[name][:, :columns]) for name in INPUTS}
