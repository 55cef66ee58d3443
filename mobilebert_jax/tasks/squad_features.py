"""Training features of SQuAD questions, after google-research/bert run_squad.py."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilebert_jax.tasks.epochs import Epochs
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_windows import window_groups
from mobilebert_jax.text.lengths import window_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.windows import Windows
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SquadFeatures:
    """n training windows of S tokens, in memory; `batch` draws from them.

    The positions are those of the answer's first and last token, 0 and 0 where the window does not hold all of it or
    there is none. `dropped` counts questions left out because their answer is not in the passage where it should be.
    """

    input_ids: np.ndarray  # [n, S] int32
    attention_mask: np.ndarray  # [n, S] int8
    token_type_ids: np.ndarray  # [n, S] int8
    start_positions: np.ndarray  # [n] int32
    end_positions: np.ndarray  # [n] int32
    epochs: Epochs
    dropped: int = 0

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
            UserError: no question is left to train on, or a question leaves a window no room for the passage.
        """
        found = [(question, _answer_span(question)) for question in questions]
        kept = [question for question, span in found if span is not None]
        spans = np.array([span for _, span in found if span is not None], np.int32)
        dropped = len(questions) - len(kept)
        if not kept:
            raise UserError(f"none of {len(questions)} questions can be trained on: no answer is where its offset says")
        if dropped:
            _LOG.warning("%d of %d questions left out: answer not found in the passage", dropped, len(questions))
        shape = {"sequence_length": sequence_length, "doc_stride": doc_stride, "max_query_length": max_query_length}
        groups = []
        for group, windows in window_groups(tokenizer, kept, **shape):
            positions = answer_positions(windows, spans[: len(group)])
            spans = spans[len(group) :]
            masks = windows.attention_mask.astype(np.int8), windows.token_type_ids.astype(np.int8)
            groups.append((windows.input_ids, *masks, *positions))
        ids, mask, *others = map(np.concatenate, zip(*groups, strict=True))
        epochs = Epochs(mask.sum(axis=1, dtype=np.int64), window_buckets(sequence_length, bucketing))
        return cls(ids, mask, *others, epochs, dropped)

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


def _answer_span(question: Question) -> tuple[int, int] | None:
    """Half-open characters of the first answer; an empty span for no answer; None when it cannot be recovered.

    As in the original, an answer whose offset is a little wrong, or whose white space differs, is looked for in the
    words that its range touches.
    """
    if question.is_impossible or not question.answers:
        return 0, 0
    passage, (text, start) = question.passage, question.answers[0]
    if not text.strip() or not 0 <= start < len(passage):
        return None
    if passage.startswith(text, start):
        return start, start + len(text)
    end = start + len(text)
    words_begin = start - len(re.split(r"\s", passage[:start])[-1])
    words_end = end + len(re.split(r"\s", passage[end:], maxsplit=1)[0])
    pattern = r"\s+".join(map(re.escape, text.split()))
    found = re.compile(pattern).search(passage, words_begin, words_end)
    return found.span() if found else None
