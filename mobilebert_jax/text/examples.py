"""Pretraining examples: sentence pairs with masked tokens, a whole batch at once.

Follows google-research/bert create_pretraining_data.py with these differences: an example is a pure function of (seed,
global index), so the start sentence is drawn with replacement; every start has a next sentence, so exactly half of the
second segments are random in expectation; how much of an overlong segment is cut at its front is one uniform draw.
"""

from typing import NamedTuple

import numpy as np

from mobilebert_jax.text.predictions import Predictions, Vocabulary
from mobilebert_jax.text.randomness import integers, uniforms
from mobilebert_jax.text.store import TokenStore
from mobilebert_jax.utils.errors import UserError

# What is drawn for an example, each with its own salt; those of `predictions` follow.
START, SHORT, TARGET, SPLIT, RANDOM_NEXT, OTHER_DOCUMENT, OTHER_SENTENCE, CUT_FIRST, CUT_SECOND = range(9)


class Span(NamedTuple):
    """Half-open token ranges in a store."""

    start: np.ndarray  # [B]
    stop: np.ndarray  # [B]

    @property
    def length(self) -> np.ndarray:
        """Tokens in each range, [B]."""
        return self.stop - self.start


class PretrainingExamples:
    """Masked-LM and next-sentence examples over a token store."""

    def __init__(
        self,
        store: TokenStore,
        vocabulary: Vocabulary,
        *,
        seed: int,
        batch_size: int,
        sequence_length: int,
        max_predictions: int,
        mask_probability: float = 0.15,
        whole_word: bool = False,
        short_sequence_probability: float = 0.1,
    ):
        """`batch_size` examples a step of `sequence_length` tokens, at most `max_predictions` of them masked.

        `short_sequence_probability` is the share of examples whose length is drawn from 2 up. Raises UserError for a
        store without a pair (a document of two sentences, and a second document) and for sizes that make no sense.
        """
        check_vocabulary(store, vocabulary)
        _check_pairs(store)
        check_sizes(batch_size, sequence_length, max_predictions, mask_probability)
        self.store = store
        self.vocabulary = vocabulary
        self.seed = seed
        self.batch_size = batch_size
        self.sequence_length = sequence_length
        self.short_sequence_probability = short_sequence_probability
        # Sentence pairs before each document: a document of n sentences has n - 1.
        self._pair_offsets = store.document_offsets - np.arange(store.num_documents + 1)
        self._predictions = Predictions(
            vocabulary,
            seed=seed,
            max_predictions=max_predictions,
            mask_probability=mask_probability,
            whole_word=whole_word,
        )

    def batch(self, step: int, rows: slice | None = None) -> dict[str, np.ndarray]:
        """The pretraining fields of `Batch` for global examples `step * batch_size + [0, batch_size)`.

        `rows` takes some of these, made alone and equal to the same rows of the whole batch. Integers are int32,
        masked_weights float32.
        """
        index = step * self.batch_size + np.arange(self.batch_size)[rows or slice(None)]
        first, second, random_next = self._segments(index)
        sequences = self._assemble(first, second)
        predictions = self._predictions.mask(index, sequences["input_ids"])
        return {**sequences, **predictions, "next_sentence_labels": random_next.astype(np.int32)}

    def _segments(self, index: np.ndarray) -> tuple[Span, Span, np.ndarray]:
        """Token ranges of both segments, truncated, and bool [B] whether the second is random."""
        store, seed = self.store, self.seed
        sentence_offsets, document_offsets = store.sentence_offsets, store.document_offsets
        pair = integers(seed, index, START, self._pair_offsets[-1])
        document = np.searchsorted(self._pair_offsets, pair, side="right") - 1
        start = document_offsets[document] + pair - self._pair_offsets[document]
        target = self._target_lengths(index)
        # Sentences from `start` until the target is reached, two at least; the first ones are segment A, the rest B.
        stop = np.maximum(self._sentence_reaching(start, target, document), start + 2)
        middle = start + 1 + integers(seed, index, SPLIT, stop - start - 1)
        first = Span(sentence_offsets[start], sentence_offsets[middle])

        random_next = uniforms(seed, index, RANDOM_NEXT) < 0.5
        other = document + 1 + integers(seed, index, OTHER_DOCUMENT, store.num_documents - 1)
        other %= store.num_documents
        sentences = document_offsets[other + 1] - document_offsets[other]
        other_start = document_offsets[other] + integers(seed, index, OTHER_SENTENCE, sentences)
        other_stop = self._sentence_reaching(other_start, np.maximum(target - first.length, 1), other)
        second = Span(
            sentence_offsets[np.where(random_next, other_start, middle)],
            sentence_offsets[np.where(random_next, other_stop, stop)],
        )
        return *self._truncate(index, first, second), random_next

    def _target_lengths(self, index: np.ndarray) -> np.ndarray:
        """Tokens wanted in both segments, [B]: all there is room for, sometimes fewer."""
        most = self.sequence_length - 3
        short = uniforms(self.seed, index, SHORT) < self.short_sequence_probability
        return np.where(short, 2 + integers(self.seed, index, TARGET, most - 1), most)

    def _sentence_reaching(self, sentence: np.ndarray, target: np.ndarray, document: np.ndarray) -> np.ndarray:
        """The first sentence boundary `target` tokens or more behind `sentence`, or the document's end."""
        offsets = self.store.sentence_offsets
        limit = np.minimum(offsets[sentence] + target, offsets[self.store.document_offsets[document + 1]])
        return np.searchsorted(offsets, limit)

    def _truncate(self, index: np.ndarray, first: Span, second: Span) -> tuple[Span, Span]:
        """Shortens the longer segment token by token until both fit; a tie goes to the second."""
        room = self.sequence_length - 3
        first_length = np.minimum(first.length, np.maximum(room - second.length, (room + 1) // 2))
        second_length = np.minimum(second.length, room - first_length)
        return self._cut(index, first, first_length, CUT_FIRST), self._cut(index, second, second_length, CUT_SECOND)

    def _cut(self, index: np.ndarray, span: Span, length: np.ndarray, salt: int) -> Span:
        """`length` tokens of the span, from a place drawn uniformly."""
        start = span.start + integers(self.seed, index, salt, span.length - length + 1)
        return Span(start, start + length)

    def _assemble(self, first: Span, second: Span) -> dict[str, np.ndarray]:
        """[CLS] first [SEP] second [SEP], padded."""
        vocabulary, length = self.vocabulary, self.sequence_length
        begin = np.arange(len(first.start)) * length
        separator, column = first.length + 1, np.arange(length)
        end = separator + second.length + 1
        input_ids = np.full(len(begin) * length, vocabulary.pad_id, np.int32)
        runs = zip(first, second, strict=True)
        start, stop = (np.stack(pair, axis=1).ravel() for pair in runs)
        to = np.stack([begin + 1, begin + separator + 1], axis=1).ravel()
        self.store.copy_tokens(start, stop - start, input_ids, to)
        input_ids[begin] = vocabulary.cls_id
        input_ids[begin + separator] = input_ids[begin + end] = vocabulary.sep_id
        seen = column <= end[:, None]
        return {
            "input_ids": input_ids.reshape(-1, length),
            "attention_mask": seen.astype(np.int32),
            "token_type_ids": (seen & (column > separator[:, None])).astype(np.int32),
        }


def _check_pairs(store: TokenStore) -> None:
    if store.num_documents < 2 or store.num_sentences == store.num_documents:
        raise UserError(
            f"the token store has {store.num_documents} documents with {store.num_sentences} sentences; sentence pairs "
            "need two documents, one of them with two sentences: use a larger corpus"
        )


def check_vocabulary(store: TokenStore, vocabulary: Vocabulary) -> None:
    """UserError when another tokenizer made the store."""
    if store.manifest["vocab_size"] != vocabulary.vocab_size:
        raise UserError(
            f"the token store was made with {store.manifest['vocab_size']} word pieces, the tokenizer has "
            f"{vocabulary.vocab_size}; prepare the store with this tokenizer"
        )


def check_sizes(batch_size: int, sequence_length: int, max_predictions: int, mask_probability: float) -> None:
    """UserError that begins with the name of a size no examples could be made with."""
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size}: at least 1 is needed")
    if not 5 <= sequence_length <= 1 << 16:
        raise UserError(f"sequence_length={sequence_length}: 5 to 65536 is possible, 3 of them special tokens")
    if not 1 <= max_predictions <= sequence_length:
        raise UserError(f"max_predictions={max_predictions}: 1 to sequence_length={sequence_length} is possible")
    if not 0 < mask_probability <= 1:
        raise UserError(f"mask_probability={mask_probability}: a number above 0 and at most 1 is needed")
