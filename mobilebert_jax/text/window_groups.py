"""Windows of many questions, a bounded number at a time."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.windows import Windows, build_windows

# Characters of passage a group holds: about 4,000 windows, whatever the passages' lengths.
_GROUP_CHARACTERS = 2_000_000
# A question counts as at least this many, for its windows are full width however short its passage.
_LEAST_CHARACTERS = 500


def grouped_windows(
    tokenizer: Tokenizer, questions: Sequence[str], passages: Sequence[str], **shape: int
) -> Iterator[tuple[slice, Windows]]:
    """Consecutive questions, as a slice of all, with their windows; memory does not grow with their number.

    `shape`: the lengths that `build_windows` takes.
    """
    weights = np.cumsum([max(len(passage), _LEAST_CHARACTERS) for passage in passages])
    group_of = (weights // _GROUP_CHARACTERS).tolist()
    for _, members in itertools.groupby(range(len(questions)), key=group_of.__getitem__):
        rows = list(members)
        group = slice(rows[0], rows[-1] + 1)
        yield group, build_windows(tokenizer, questions[group], passages[group], **shape)
