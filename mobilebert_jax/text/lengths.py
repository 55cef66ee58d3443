"""The few lengths that examples are padded to, so that short ones do not pay for long ones."""

from collections.abc import Iterator

import numpy as np

LENGTH_MULTIPLE = 8
"""What every length is a multiple of, the longest excepted."""

TEXT_EIGHTHS = (1, 2, 4, 6)
WINDOW_EIGHTHS = (2, 3, 4, 5, 6)
"""Of the longest: the lengths of texts, which vary widely, and of windows, which are seldom short. Each is compiled."""


def length_buckets(sequence_length: int, bucketing: bool = True) -> np.ndarray:
    """The lengths that texts are padded to, ascending: 1, 2, 4, 6 and 8 eighths of `sequence_length`.

    Rounded up to multiples of 8; without `bucketing` the whole length alone.
    """
    return _eighths(sequence_length, TEXT_EIGHTHS if bucketing else ())


def window_buckets(sequence_length: int, bucketing: bool = True) -> np.ndarray:
    """The same for windows over a passage: 2, 3, 4, 5, 6 and 8 eighths."""
    return _eighths(sequence_length, WINDOW_EIGHTHS if bucketing else ())


def bucket_of(lengths: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """Places in `buckets` of examples of so many tokens: the shortest one that leaves a column of padding.

    A model without `zero_pad_embeddings` sees in the last token's trigram what stands behind it, [PAD] or the row's
    end. With padding kept there an example has one result in every bucket; only the longest has no room for it.
    """
    return np.searchsorted(buckets[:-1], lengths, side="right")


def in_order_of_length(
    lengths: np.ndarray, buckets: np.ndarray, batch_size: int
) -> Iterator[tuple[np.ndarray, int, int]]:
    """All examples once: `(rows, how many of them count, their bucket's length)`, the shortest first, for prediction.

    Every batch has exactly `batch_size` rows of one bucket; the last one of a bucket repeats its last example. An
    example is padded to its own bucket whatever stands beside it.
    """
    bucket = bucket_of(lengths, buckets)
    for index, length in enumerate(buckets.tolist()):
        members = np.flatnonzero(bucket == index)
        for begin in range(0, len(members), batch_size):
            rows = members[np.minimum(np.arange(begin, begin + batch_size), len(members) - 1)]
            yield rows, min(batch_size, len(members) - begin), length


def _eighths(sequence_length: int, parts: tuple[int, ...]) -> np.ndarray:
    rounded = {-(-sequence_length * part // (8 * LENGTH_MULTIPLE)) * LENGTH_MULTIPLE for part in parts}
    return np.array(sorted({length for length in rounded if length < sequence_length} | {sequence_length}))
