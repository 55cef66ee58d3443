"""The batch of `cases` without its pairs, and the same examples as pieces of fewer rows."""

import numpy as np

from tests.training.cases import PREDICTIONS, STUDENT, batch

PACKED_LENGTH = STUDENT.max_position_embeddings
ROWS = ((0, 1, 2), (3, 4, 5), (6,), (7,))
"""Which examples share a row."""


def unpacked_batch():
    """Eight rows of one piece each."""
    examples = batch()
    del examples["next_sentence_labels"]
    return examples | {"token_type_ids": np.zeros_like(examples["token_type_ids"])}


def pack(examples, rows, length=PACKED_LENGTH):
    """The examples as pieces of `rows`, each a tuple of their numbers, with `segment_ids`."""
    slots = max(map(len, rows)) * PREDICTIONS
    sequences = ("input_ids", "attention_mask", "token_type_ids", "segment_ids")
    predictions = ("masked_positions", "masked_ids", "masked_weights")
    made = {name: np.zeros((len(rows), length), np.int32) for name in sequences}
    made |= {name: np.zeros((len(rows), slots), examples[name].dtype) for name in predictions}
    for row, members in enumerate(rows):
        start = 0
        for piece, example in enumerate(members):
            size = examples["attention_mask"][example].sum()
            for name in sequences[:3]:
                made[name][row, start : start + size] = examples[name][example, :size]
            made["segment_ids"][row, start : start + size] = piece + 1
            place = slice(piece * PREDICTIONS, (piece + 1) * PREDICTIONS)
            for name in predictions:
                made[name][row, place] = examples[name][example]
            made["masked_positions"][row, place] += start
            start += size
    return made
