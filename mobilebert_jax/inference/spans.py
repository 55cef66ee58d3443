"""From start and end logits to answer candidates in the passage's characters.

Follows google-research/bert run_squad.py (`write_predictions`), except that the n best starts and ends are taken among
the tokens that may be one, so a question's own tokens cannot crowd the passage out.
"""

import itertools
import unicodedata
from typing import NamedTuple

import numpy as np

from mobilebert_jax.text.windows import Windows

# Windows handled at once: bounds the [windows, n_best, n_best] table of pairs.
_BLOCK = 2048


class Span(NamedTuple):
    """A candidate: half-open characters of the passage, start + end logit, and the tokens (inclusive) it came from."""

    start_char: int
    end_char: int
    score: float
    window: int
    start_token: int
    end_token: int


def best_spans(
    windows: Windows, start_logits: np.ndarray, end_logits: np.ndarray, *, n_best: int = 20, max_answer_length: int = 30
) -> tuple[list[list[Span]], np.ndarray]:
    """Each question's candidates over all its windows, best first, and its null score.

    Logits are `[n, S]`. A span starts at a passage token seen with its greatest context, ends at or after it and has at
    most `max_answer_length` tokens; per window the `n_best` starts and ends are paired. Of spans with the same
    characters the best stays, then at most `n_best` a question. The null scores `[Q]` float64 are the lowest
    start + end logit of [CLS] over the question's windows.
    """
    questions = int(windows.example[-1]) + 1 if len(windows) else 0
    null_scores = np.full(questions, np.inf)
    np.minimum.at(null_scores, windows.example, start_logits[:, 0].astype(np.float64) + end_logits[:, 0])
    blocks = [
        _pair(windows, start_logits, end_logits, slice(begin, begin + _BLOCK), n_best, max_answer_length)
        for begin in range(0, len(windows), _BLOCK)
    ]
    if not blocks:
        return [], null_scores
    row, start, end, score = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    columns = (windows.char_start[row, start], windows.char_end[row, end], score, row, start, end)
    return _collect(windows.example[row], columns, questions, n_best), null_scores


def answer_end(passage: str, end: int) -> int:
    """`end` moved past the accents (combining marks) that belong to the last character; the tokenizer drops them."""
    while end < len(passage) and unicodedata.category(passage[end]) == "Mn":
        end += 1
    return end


def _pair(
    windows: Windows, start_logits: np.ndarray, end_logits: np.ndarray, rows: slice, n_best: int, max_answer_length: int
) -> tuple[np.ndarray, ...]:
    """Window, start token, end token and score of at most `n_best` spans a window."""
    may_end = windows.in_passage[rows]
    start, start_score = _largest(start_logits[rows], may_end & windows.max_context[rows], n_best)
    end, end_score = _largest(end_logits[rows], may_end, n_best)
    length = end[:, None, :] - start[:, :, None] + 1
    score = start_score[:, :, None] + end_score[:, None, :]
    # A token that is the mark of a word's beginning alone, as SentencePiece has them, is no answer.
    begins = np.take_along_axis(windows.char_start[rows], start, axis=1)
    ends = np.take_along_axis(windows.char_end[rows], end, axis=1)
    some_text = ends[:, None, :] > begins[:, :, None]
    score = np.where((length >= 1) & (length <= max_answer_length) & some_text, score, -np.inf)
    flat = score.reshape(len(score), -1)
    best = np.argsort(-flat, axis=1, kind="stable")[:, :n_best]
    row, column = np.nonzero(np.take_along_axis(flat, best, axis=1) > -np.inf)
    pair = best[row, column]
    which_start, which_end = np.divmod(pair, end.shape[1])
    return row + rows.start, start[row, which_start], end[row, which_end], flat[row, pair]


def _largest(logits: np.ndarray, allowed: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of each row's `count` largest allowed logits, best first; -inf where fewer are allowed."""
    masked = np.where(allowed, logits.astype(np.float64), -np.inf)
    best = np.argsort(-masked, axis=1, kind="stable")[:, :count]
    return best, np.take_along_axis(masked, best, axis=1)


def _collect(example: np.ndarray, columns: tuple[np.ndarray, ...], questions: int, n_best: int) -> list[list[Span]]:
    """One list a question: spans of equal characters merged, best first; equal scores keep the passage's order."""
    start_char, end_char, score = columns[:3]
    order = np.lexsort((-score, end_char, start_char, example))
    key = np.stack([example, start_char, end_char])[:, order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (key[:, 1:] != key[:, :-1]).any(axis=0)
    order = order[fresh]
    order = order[np.lexsort((-score[order], example[order]))]
    spans = list(map(Span, *(column[order].tolist() for column in columns)))
    bounds = np.searchsorted(example[order], np.arange(questions + 1)).tolist()
    return [spans[begin : min(end, begin + n_best)] for begin, end in itertools.pairwise(bounds)]
