"""Questions and passages as overlapping windows `[CLS] question [SEP] passage chunk [SEP]`, BERT's SQuAD rules.

Follows google-research/bert run_squad.py (`convert_examples_to_features`), with character offsets in place of its
whitespace words, so that every token leads back to the untouched passage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch

# Texts in one tokenizer call: enough for all its threads, few enough that the encodings stay small in memory.
_ENCODE_BATCH = 1024


@dataclass(frozen=True)
class Windows:
    """n windows of S tokens over Q questions; the windows of one question stand together, in passage order."""

    input_ids: np.ndarray  # [n, S] int32
    attention_mask: np.ndarray  # [n, S] int32, 1 for tokens, 0 for padding
    token_type_ids: np.ndarray  # [n, S] int32, 1 for the chunk and its [SEP], 0 elsewhere
    example: np.ndarray  # [n] int32, which question
    char_start: np.ndarray  # [n, S] int32, half-open character span in the passage; -1 outside it
    char_end: np.ndarray  # [n, S] int32
    in_passage: np.ndarray  # [n, S] bool, passage tokens
    max_context: np.ndarray  # [n, S] bool, passage tokens for which no other window shows more context
    cut: tuple[int, ...] = ()  # questions that lost their last pieces

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each window [n] int64."""
        return self.attention_mask.sum(axis=1, dtype=np.int64)

    def batch(self, rows: np.ndarray, length: int) -> Batch:
        """The model's inputs, each [B, length] int32, for the windows `rows` [B], none of them longer."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        return {name: getattr(self, name)[rows, :length] for name in names}


@dataclass(frozen=True)
class _Pieces:
    """Word pieces of T texts, end to end."""

    ids: np.ndarray  # [pieces] int32
    spans: np.ndarray  # [pieces, 2] int32, half-open character spans
    first: np.ndarray  # [T] int64, each text's first piece
    length: np.ndarray  # [T] int64

    def take(self, rows: np.ndarray) -> "_Pieces":
        """The texts of these rows; the pieces stay where they are, so a text may be taken many times."""
        return replace(self, first=self.first[rows], length=self.length[rows])


@dataclass(frozen=True)
class _Chunks:
    """Which part of its question's passage each of n windows shows."""

    example: np.ndarray  # [n]
    first: np.ndarray  # [n], the chunk's first token, counted in the passage
    length: np.ndarray  # [n]


def build_windows(
    tokenizer: Tokenizer,
    questions: Sequence[str],
    passages: Sequence[str],
    *,
    sequence_length: int,
    doc_stride: int = 128,
    max_query_length: int = 64,
) -> Windows:
    """Windows over `passages[i]` for `questions[i]`, each `sequence_length` tokens; an empty passage gets one window.

    Questions are cut after `max_query_length` pieces; a window starts `min(doc_stride, room)` tokens after the one
    before it. A passage given many times is tokenised once. Raises UserError when a question leaves no room.
    """
    if doc_stride < 1 or max_query_length < 1:
        raise UserError(f"doc_stride is {doc_stride} and max_query_length {max_query_length}; both must be at least 1")
    rows: dict[str, int] = {}
    passage_row = np.array([rows.setdefault(passage, len(rows)) for passage in passages], np.int64)
    asked = _tokenize(tokenizer, questions)
    cut = np.flatnonzero(asked.length > max_query_length)
    asked = replace(asked, length=np.minimum(asked.length, max_query_length))
    read = _tokenize(tokenizer, list(rows)).take(passage_row)
    room = sequence_length - asked.length - 3
    _check_room(room, questions, sequence_length)
    windows = _fill(tokenizer, asked, read, _slide(read.length, room, doc_stride), sequence_length)
    return replace(windows, cut=tuple(cut.tolist()))


def _fill(tokenizer: Tokenizer, asked: _Pieces, read: _Pieces, chunks: _Chunks, sequence_length: int) -> Windows:
    """Lays `[CLS] question [SEP] chunk [SEP]` out; `asked` and `read` hold one text a question."""
    column = np.arange(sequence_length)
    separator = asked.length[chunks.example, None] + 1
    begin = separator + 1
    end = begin + chunks.length[:, None]
    in_question = (column >= 1) & (column < separator)
    in_passage = (column >= begin) & (column < end)

    query_row, query_column = np.nonzero(in_question)
    row, position = np.nonzero(in_passage)
    position -= begin[row, 0]
    source = (read.first[chunks.example] + chunks.first)[row] + position
    ids = np.full(in_passage.shape, tokenizer.pad_id, np.int32)
    ids[:, 0] = tokenizer.cls_id
    ids[(column == separator) | (column == end)] = tokenizer.sep_id
    ids[in_question] = asked.ids[asked.first[chunks.example[query_row]] + query_column - 1]
    ids[in_passage] = read.ids[source]
    spans = np.full((2, *in_passage.shape), -1, np.int32)
    spans[:, in_passage] = read.spans[source].T
    return Windows(
        input_ids=ids,
        attention_mask=(column <= end).astype(np.int32),
        token_type_ids=((column >= begin) & (column <= end)).astype(np.int32),
        example=chunks.example.astype(np.int32),
        char_start=spans[0],
        char_end=spans[1],
        in_passage=in_passage,
        max_context=_max_context(chunks, read.length, in_passage, row, position),
    )


def _tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> _Pieces:
    ids, spans = [np.zeros(0, np.int32)], [np.zeros((0, 2), np.int32)]
    for begin in range(0, len(texts), _ENCODE_BATCH):
        encodings = tokenizer.encode_batch(texts[begin : begin + _ENCODE_BATCH])
        ids += [np.array(encoding.ids, np.int32) for encoding in encodings]
        spans += [np.array(encoding.offsets, np.int32).reshape(-1, 2) for encoding in encodings]
    length = np.array([len(text_ids) for text_ids in ids[1:]], np.int64)
    return _Pieces(np.concatenate(ids), np.concatenate(spans), np.cumsum(length) - length, length)


def _check_room(room: np.ndarray, questions: Sequence[str], sequence_length: int) -> None:
    """`room [Q]`: passage tokens a window can hold beside its question."""
    if len(room) and room.min() < 1:
        worst = int(room.argmin())
        needed = sequence_length - int(room[worst]) + 1
        raise UserError(
            f"sequence_length {sequence_length} leaves no room for passage tokens beside the question "
            f"{questions[worst][:60]!r}: give at least {needed}, or a smaller max_query_length"
        )


def _slide(passage_length: np.ndarray, room: np.ndarray, doc_stride: int) -> _Chunks:
    """All chunks of all passages, lengths and room `[Q]`; a passage's last chunk is the first that reaches its end."""
    step = np.minimum(room, doc_stride)
    count = 1 + np.maximum(0, -(-(passage_length - room) // step))
    example = np.repeat(np.arange(len(count)), count)
    turn = np.arange(len(example)) - (np.cumsum(count) - count)[example]
    first = turn * step[example]
    return _Chunks(example, first, np.minimum(room[example], passage_length[example] - first))


def _max_context(
    chunks: _Chunks, passage_length: np.ndarray, in_passage: np.ndarray, row: np.ndarray, position: np.ndarray
) -> np.ndarray:
    """`[n, S]` bool: a token belongs to the first window with the greatest min(left, right) + 0.01 * chunk length.

    `row` and `position` (in its chunk) are those of each passage token, in the order of `in_passage`.
    """
    length = chunks.length[row]
    score = np.minimum(position, length - 1 - position) + 0.01 * length
    token_begin = (np.cumsum(passage_length) - passage_length)[chunks.example] + chunks.first
    token = token_begin[row] + position
    best = np.full(passage_length.sum(), -np.inf)
    np.maximum.at(best, token, score)
    leads = score == best[token]
    owner = np.full(len(best), len(in_passage))
    np.minimum.at(owner, token[leads], row[leads])
    result = np.zeros_like(in_passage)
    result[in_passage] = owner[token] == row
    return result
