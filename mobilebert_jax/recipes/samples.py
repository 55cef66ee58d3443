"""Some of a task's examples as tokens, to measure the ranges of activations on."""

from collections.abc import Sequence

import numpy as np

from mobilebert_jax.quantization.recipe import Samples
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.text.lengths import LENGTH_MULTIPLE
from mobilebert_jax.text.pairs import Pairs
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.windows import build_windows
from mobilebert_jax.text.words import WordRows
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import INPUTS

EXAMPLES = 128
"""How many are measured on where nothing else is said."""


def of_texts(
    tokenizer: Tokenizer, texts: Sequence[str], text_pairs: Sequence[str] | None, length: int, count: int
) -> Samples:
    """`count` of the texts, or of the pairs, evenly chosen."""
    rows = evenly(len(texts), count)
    pairs = None if text_pairs is None else [text_pairs[row] for row in rows]
    made = Pairs.build(tokenizer, [texts[row] for row in rows], pairs, length)
    return _trimmed(made.batch(np.arange(len(made)), length))


def of_questions(tokenizer: Tokenizer, questions: Sequence[Question], length: int, count: int) -> Samples:
    """A window over the passage for each of `count` questions, evenly chosen: the first, the second, ... in turn."""
    asked = [questions[row] for row in evenly(len(questions), count)]
    third = max(1, length // 3)
    windows = build_windows(
        tokenizer,
        [each.question for each in asked],
        [each.passage for each in asked],
        sequence_length=length,
        doc_stride=min(128, third),
        max_query_length=min(64, third),
    )
    return _trimmed(windows.batch(evenly(len(windows), count), length))


def of_words(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], length: int, count: int) -> Samples:
    """`count` of the sentences, evenly chosen."""
    rows = WordRows.build(tokenizer, [sentences[row] for row in evenly(len(sentences), count)], length)
    return _trimmed(rows.pairs.batch(evenly(len(rows), count), length))


def evenly(there: int, count: int) -> np.ndarray:
    """At most `count` of the numbers below `there`: sorted sets are met in all their parts."""
    if there == 0:
        raise UserError("no examples to calibrate with")
    return np.unique(np.linspace(0, there - 1, min(there, count)).round().astype(np.int64))


def _trimmed(batch: Samples) -> Samples:
    """Without the columns that are padding in every row, up to a multiple of 8."""
    longest = int(batch["attention_mask"].sum(axis=1).max())
    columns = -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    return {name: np.asarray(batch[name][:, :columns]) for name in INPUTS}
