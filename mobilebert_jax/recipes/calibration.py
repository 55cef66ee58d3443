"""Examples on which the ranges of activations are measured: some of a task's, or of any text."""

import dataclasses
import itertools
from pathlib import Path

from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.quantization.recipe import Samples
from mobilebert_jax.recipes.labels import CLASSIFICATION
from mobilebert_jax.recipes.questions import THRESHOLDS, of_task
from mobilebert_jax.recipes.samples import EXAMPLES, of_questions, of_texts, of_words
from mobilebert_jax.recipes.tokens import TOKENS
from mobilebert_jax.tasks.examples import make_examples
from mobilebert_jax.tasks.glue_data import load_glue
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.own_data import Columns, read_rows
from mobilebert_jax.tasks.squad_data import parse_squad
from mobilebert_jax.tasks.token_data import TOKEN_COLUMNS, read_sentences
from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.text.question_sets import open_questions
from mobilebert_jax.text.tables import REFUSE
from mobilebert_jax.text.tokenizer import Tokenizer

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
