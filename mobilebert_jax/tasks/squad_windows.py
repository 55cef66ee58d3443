"""Windows of many SQuAD questions."""

import logging
from collections.abc import Iterator, Sequence

from mobilebert_jax.tasks.squad_answers import named
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.window_groups import grouped_windows
from mobilebert_jax.text.windows import Windows

_LOG = logging.getLogger(__name__)


def window_groups(
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    *,
    sequence_length: int,
    doc_stride: int,
    max_query_length: int,
    warn: bool = True,
) -> Iterator[tuple[Sequence[Question], Windows]]:
    """Consecutive questions with their windows, so that memory does not grow with the number of questions.

    With `warn`, those that were cut after `max_query_length` pieces are counted and named once all windows are there.
    """
    cut: list[Question] = []
    shape = {"sequence_length": sequence_length, "doc_stride": doc_stride, "max_query_length": max_query_length}
    texts, passages = [question.question for question in questions], [question.passage for question in questions]
    for rows, windows in grouped_windows(tokenizer, texts, passages, **shape):
        group = questions[rows]
        cut += [group[place] for place in windows.cut]
        yield group, windows
    if cut and warn:
        _LOG.warning("%d questions cut after %d tokens (%s)", len(cut), max_query_length, named(cut))
