"""Windows of many questions, a bounded number at a time."""

import itertools
import logging
from collections.abc import Iterator, Sequence

import numpy as np

from mobilebert_jax.tasks.squad_answers import named
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.windows import Windows, build_windows

_LOG = logging.getLogger(__name__)

# Characters of passage a group holds: about 4,000 windows, whatever the passages' lengths.
_GROUP_CHARACTERS = 2_000_000
# A question counts as at least this many, for its windows are full width however short its passage.
_LEAST_CHARACTERS = 500


def window_groups(
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    *,
    sequence_length: int,
    doc_stride: int,
    max_query_length: int,
    warn: bool = True,
) -> Iterator[tuple[list[Question], Windows]]:
    """Consecutive questions with their windows, so that memory does not grow with the number of questions.

    With `warn`, those that were cut after `max_query_length` pieces are counted and named once all windows are there.
    """
    cut: list[Question] = []
    weights = np.cumsum([max(len(question.passage), _LEAST_CHARACTERS) for question in questions])
    group_of = (weights // _GROUP_CHARACTERS).tolist()
    numbered = zip(group_of, questions, strict=True)
    for _, members in itertools.groupby(numbered, key=lambda pair: pair[0]):
        group = [question for _, question in members]
        windows = build_windows(
            tokenizer,
            [question.question for question in group],
            [question.passage for question in group],
            sequence_length=sequence_length,
            doc_stride=doc_stride,
            max_query_length=max_query_length,
        )
        cut += [group[place] for place in windows.cut]
        yield group, windows
    if cut and warn:
        _LOG.warning("%d questions cut after %d tokens (%s)", len(cut), max_query_length, named(cut))
