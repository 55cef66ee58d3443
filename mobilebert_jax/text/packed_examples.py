"""Pretraining examples for the masked language model alone: rows filled with pieces of several documents.

A row is [CLS] piece [SEP] [CLS] piece [SEP] ... Each piece begins with a sentence drawn with replacement and goes on to
the end of its document, or to the end of the row, where the last one is cut; a row ends where fewer than `LEAST` tokens
would fit. As everywhere, a row is a pure function of (seed, global index).
"""

from typing import NamedTuple

import numpy as np

from mobilebert_jax.text.examples import check_sizes, check_vocabulary
from mobilebert_jax.text.predictions import Predictions, Vocabulary
from mobilebert_jax.text.randomness import integers, uniforms
from mobilebert_jax.text.store import TokenStore

LEAST = 8
"""Tokens of text in a piece, unless its whole document is shorter: it leaves at most 9 columns of a row empty."""

# Salts of a row's first piece; the next one's follow. What is drawn for predictions has lower ones.
START, SHORT, TARGET = range(12, 15)
DRAWS = 3


class Pieces(NamedTuple):
    """Token ranges of a store and where they go, one element a piece; those of one row from left to right."""

    row: np.ndarray
    column: np.ndarray  # of the piece's [CLS]
    start: np.ndarray  # first token in the store
    length: np.ndarray  # tokens, without [CLS] and [SEP]


class PackedExamples:
    """Masked-LM examples over a token store, several pieces a row; the interface is that of `PretrainingExamples`."""

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
        """`batch_size` rows a step of `sequence_length` tokens, at most `max_predictions` of them masked.

        `short_sequence_probability` is the share of pieces that end early, with the sentence in which a length drawn
        from `LEAST` up to what fits is reached: the model sees short texts too, where all documents are long. Another
        piece fills the rest. Raises UserError for another tokenizer's store and for sizes that make no sense.
        """
        check_vocabulary(store, vocabulary)
        check_sizes(batch_size, sequence_length, max_predictions, mask_probability)
        self.store = store
        self.vocabulary = vocabulary
        self.seed = seed
        self.batch_size = batch_size
        self.sequence_length = sequence_length
        self.short_sequence_probability = short_sequence_probability
        self._least = min(LEAST, sequence_length - 2)
        self._predictions = Predictions(
            vocabulary,
            seed=seed,
            max_predictions=max_predictions,
            mask_probability=mask_probability,
            whole_word=whole_word,
        )

    def batch(self, step: int, rows: slice | None = None) -> dict[str, np.ndarray]:
        """The fields of `Batch` for packed rows, global examples `step * batch_size + [0, batch_size)`.

        `rows` takes some of these, made alone and equal to the same rows of the whole batch. Integers are int32,
        masked_weights float32. There are no next_sentence_labels, and token_type_ids are 0.
        """
        index = step * self.batch_size + np.arange(self.batch_size)[rows or slice(None)]
        sequences = self._assemble(len(index), self._pieces(index))
        return {**sequences, **self._predictions.mask(index, sequences["input_ids"])}

    def _pieces(self, index: np.ndarray) -> Pieces:
        """Fills all rows at once, one more piece in each that has room; a third of the length is the most there are."""
        rows, used, found = np.arange(len(index)), np.zeros(len(index), np.int64), []
        number = 0
        while number == 0 or len(rows):
            start, length = self._draw(index[rows], number, self.sequence_length - 2 - used[rows])
            found.append((rows, used[rows], start, length))
            used[rows] += length + 2
            rows = rows[used[rows] + 2 + self._least <= self.sequence_length]
            number += 1
        return Pieces(*map(np.concatenate, zip(*found, strict=True)))

    def _draw(self, index: np.ndarray, number: int, room: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First token and length of piece `number` of some rows, at most `room` tokens long; all int64 [rows]."""
        store, seed, salt = self.store, self.seed, DRAWS * number
        offsets, document_offsets = store.sentence_offsets, store.document_offsets
        sentence = integers(seed, index, START + salt, store.num_sentences)
        document = np.searchsorted(document_offsets, sentence, side="right") - 1
        end = offsets[document_offsets[document + 1]]
        # Too near to the end of the document, the piece begins with the nearest sentence that is not.
        latest = np.searchsorted(offsets, end - self._least, side="right") - 1
        sentence = np.maximum(np.minimum(sentence, latest), document_offsets[document])
        start = offsets[sentence]
        target = start + self._least + integers(seed, index, TARGET + salt, room - self._least + 1)
        short = (uniforms(seed, index, SHORT + salt) < self.short_sequence_probability) & (target < end)
        end[short] = offsets[np.searchsorted(offsets, target[short])]
        return start, np.minimum(end - start, room)

    def _assemble(self, rows: int, pieces: Pieces) -> dict[str, np.ndarray]:
        """[CLS] piece [SEP] for every piece, padded."""
        shape, vocabulary = (rows, self.sequence_length), self.vocabulary
        last = pieces.column + pieces.length + 1
        input_ids = np.full(shape, vocabulary.pad_id, np.int32)
        input_ids[pieces.row, pieces.column] = vocabulary.cls_id
        input_ids[pieces.row, last] = vocabulary.sep_id
        place = pieces.row * self.sequence_length + pieces.column + 1
        self.store.copy_tokens(pieces.start, pieces.length, input_ids.reshape(-1), place)
        begins, ends = np.zeros(shape, np.int32), np.zeros(rows, np.int64)
        begins[pieces.row, pieces.column] = 1
        np.maximum.at(ends, pieces.row, last)
        attention_mask = (np.arange(self.sequence_length) <= ends[:, None]).astype(np.int32)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": np.zeros(shape, np.int32),
            "segment_ids": np.cumsum(begins, axis=1, dtype=np.int32) * attention_mask,
        }
