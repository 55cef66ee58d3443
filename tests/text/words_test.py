import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.text.words import WordRows
from mobilebert_jax.utils.errors import UserError

KNOWN = ["cat", "sat", "running", "birds", "\u200b", "xyz", "unbelievably"]
TOKENIZER = train_tokenizer(["the cat sat running birds " * 3], 60)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.sampled_from(KNOWN), max_size=30), min_size=1, max_size=5), st.integers(3, 24))
def test_every_word_stands_in_one_row_at_its_first_piece(sentences, length):
    rows = WordRows.build(TOKENIZER, sentences, length)
    words = [word for sentence in sentences for word in sentence]
    labels = np.arange(len(words), dtype=np.int32)
    seen, sentence_of = [], np.repeat(np.arange(len(sentences)), list(map(len, sentences)))
    for number in range(len(rows)):
        batch = rows.batch(np.array([number]), length, labels)
        ids, mask, own = (batch[name][0] for name in ("input_ids", "attention_mask", "labels"))
        count = int(mask.sum())
        assert count == rows.pairs.lengths[number] and mask[:count].all()
        assert ids[0] == TOKENIZER.cls_id and ids[count - 1] == TOKENIZER.sep_id
        here = own[own >= 0]
        assert len(here) and len(set(sentence_of[here].tolist())) == 1  # no row holds words of two sentences
        expected = [(TOKENIZER.ids_batch([words[word]])[0] or [TOKENIZER.unk_id])[: length - 2] for word in here]
        assert ids[1 : count - 1].tolist() == [piece for pieces in expected for piece in pieces]
        starts = 1 + np.cumsum([0, *map(len, expected)])[:-1]
        np.testing.assert_array_equal(np.flatnonzero(own >= 0), starts)
        seen += here.tolist()
    assert seen == labels.tolist()


def test_long_sentences_are_divided_evenly_and_counted(caplog):
    sentence = ["cat"] * 25
    with caplog.at_level(logging.WARNING):
        rows = WordRows.build(TOKENIZER, [sentence, ["sat"]], 14, "train.conll")
    assert np.diff(rows.first_word).tolist() == [9, 9, 7, 1]
    assert caplog.messages == ["train.conll: sentences longer than 14 tokens go on in 2 further rows"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        rows = WordRows.build(TOKENIZER, [["catsun", "cat"]], 5)
    assert caplog.messages[-1] == "1 words have more than 3 pieces each; the rest of them is left out"
    assert rows.pairs.lengths.tolist() == [5, 3]


def test_several_rows_are_laid_out_at_once():
    rows = WordRows.build(TOKENIZER, [["cat", "running"], ["sat"]], 16)
    labels = np.array([5, 6, 7], np.int32)
    batch = rows.batch(np.array([1, 0, 1]), 12, labels)
    assert batch["labels"].shape == (3, 12) and batch["labels"].dtype == np.int32
    assert [own[own >= 0].tolist() for own in batch["labels"]] == [[7], [5, 6], [7]]


def test_no_room_is_refused():
    with pytest.raises(UserError, match="sequence_length is 2: 3 is the least for words"):
        WordRows.build(TOKENIZER, [["cat"]], 2)
