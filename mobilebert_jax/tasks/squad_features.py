"""Training features of SQuAD questions, after google-research/bert run_squad.py."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilebert_jax.tasks.epochs import Epochs
from mobilebert_jax.tasks.squad_answers import answer_span
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_windows import window_groups
from mobilebert_jax.text.lengths import window_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.windows import Windows
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch


@dataclass(frozen=True, eq=False)
class SquadFeatures:
    """n training windows of S tokens, in memory; `batch` draws from them.

    The positions are those of the answer's first and last token, 0 and 0 where the window does not hold all of it or
    there is none.
    """

    input_ids: np.ndarray  # [n, S] int32
    attention_mask: np.ndarray  # [n, S] int8
    token_type_ids: np.ndarray  # [n, S] int8
    start_positions: np.ndarray  # [n] int32
    end_positions: np.ndarray  # [n] int32
    epochs: Epochs

    @classmethod
    def build(
        cls,
        tokenizer: Tokenizer,
        questions: Sequence[Question],
        sequence_length: int,
        *,
        doc_stride: int = 128,
        max_query_length: int = 64,
        bucketing: bool = True,
    ) -> "SquadFeatures":
        """Windows of all questions, in order; of several answers the first is trained on.

        Without `bucketing` every batch has `sequence_length` columns.

        Raises:
            UserError: an answer is not in its passage (see `trainable`), or a question leaves a window no room for it.
        """
        spans = np.array([_span(question) for question in questions], np.int32).reshape(-1, 2)
        shape = {"sequence_length": sequence_length, "doc_stride": doc_stride, "max_query_length": max_query_length}
        groups = []
        for group, windows in window_groups(tokenizer, questions, **shape):
            positions = answer_positions(windows, spans[: len(group)])
            spans = spans[len(group) :]
            masks = windows.attention_mask.astype(np.int8), windows.token_type_ids.astype(np.int8)
            groups.append((windows.input_ids, *masks, *positions))
        ids, mask, *others = map(np.concatenate, zip(*groups, strict=True))
        epochs = Epochs(mask.sum(axis=1, dtype=np.int64), window_buckets(sequence_length, bucketing))
        return cls(ids, mask, *others, epochs)

    def __len__(self) -> int:
        return len(self.input_ids)

    def batch(self, step: int, seed: int, batch_size: int) -> Batch:
        """The batch of a step, all fields int32: a function of `(seed, step)` alone; see `Epochs`."""
        rows, length = self.epochs.batch(step, seed, batch_size)
        names = ("input_ids", "attention_mask", "token_type_ids")
        batch = {name: getattr(self, name)[rows, :length].astype(np.int32) for name in names}
        return {**batch, "start_positions": self.start_positions[rows], "end_positions": self.end_positions[rows]}


def answer_positions(windows: Windows, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Token positions `[n]` int32 of each window's answer, both inclusive; 0, 0 where the window holds not all of it.

    `spans [Q, 2]`: half-open characters of each question's answer, an empty span for none.
    """
    span = spans[windows.example]
    touched = windows.in_passage & (windows.char_end > span[:, :1]) & (windows.char_start < span[:, 1:])
    start = touched.argmax(axis=1)
    end = touched.shape[1] - 1 - touched[:, ::-1].argmax(axis=1)
    # A window holds the whole answer when it sees both the earliest and the latest character that any window sees.
    far = np.iinfo(np.int32).max
    first = np.where(touched, windows.char_start, far).min(axis=1)
    last = np.where(touched, windows.char_end, -1).max(axis=1)
    earliest, latest = np.full(len(spans), far), np.full(len(spans), -1)
    np.minimum.at(earliest, windows.example, first)
    np.maximum.at(latest, windows.example, last)
    whole = touched.any(axis=1) & (first == earliest[windows.example]) & (last == latest[windows.example])
    return np.where(whole, start, 0).astype(np.int32), np.where(whole, end, 0).astype(np.int32)


def _span(question: Question) -> tuple[int, int]:
    span = answer_span(question)
    if span is None:
        raise UserError(f"question {question.id!r}: its answer is not in the passage")
    return span
