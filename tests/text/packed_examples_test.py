"""Rows of several pieces: whole, of one document each, nearly without padding, and functions of their number alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.packed_examples import LEAST, PackedExamples
from mobilebert_jax.utils.errors import UserError
from tests.text.examples_test import SPECIALS, FakeVocabulary, random_store, store_of
from tests.text.stores import make_stores

FIELDS = {
    "input_ids": "S",
    "attention_mask": "S",
    "token_type_ids": "S",
    "segment_ids": "S",
    "masked_positions": "P",
    "masked_ids": "P",
    "masked_weights": "P",
}
LENGTHS = [5, 8, 11, 32, 33, 64]


def packed_of(store, seed=3, **settings):
    vocabulary = FakeVocabulary(store.manifest["vocab_size"])
    vocabulary.continuation = np.arange(vocabulary.vocab_size) % 3 == 0
    defaults = {"batch_size": 64, "sequence_length": 32, "max_predictions": 6}
    return PackedExamples(store, vocabulary, seed=seed, **(defaults | settings))


def original_ids(batch):
    """The ids before anything was hidden."""
    ids, used = batch["input_ids"].copy(), batch["masked_weights"] == 1
    row = np.nonzero(used)[0]
    ids[row, batch["masked_positions"][used]] = batch["masked_ids"][used]
    return ids


def pieces(batch, row, ids):
    """The store's tokens of each piece of a row; special tokens, padding and `segment_ids` checked on the way."""
    segments, length = batch["segment_ids"][row], batch["attention_mask"][row].sum()
    assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (len(ids) - length)
    assert (segments[length:] == 0).all() and (ids[length:] == 0).all()
    assert not batch["token_type_ids"][row].any()
    assert segments[0] == 1 and set(np.diff(segments[:length])) <= {0, 1}
    found = [ids[segments == number] for number in range(1, segments.max() + 1)]
    for piece in found:
        assert piece[0] == 2 and piece[-1] == 3 and (piece[1:-1] >= SPECIALS).all() and len(piece) > 2
    return [piece[1:-1] - SPECIALS for piece in found]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(LENGTHS), st.floats(0, 1))
def test_pieces_are_runs_of_documents_from_the_start_of_a_sentence(seed, length, short):
    store, least = random_store(seed), min(LEAST, length - 2)
    batch = packed_of(store, sequence_length=length, max_predictions=4, short_sequence_probability=short).batch(seed)
    sentence_starts, document_ends = set(store.sentence_offsets), store.sentence_offsets[store.document_offsets[1:]]
    sizes = np.diff(store.sentence_offsets[store.document_offsets])
    ids = original_ids(batch)
    for row in range(64):
        found = pieces(batch, row, ids[row])
        used = batch["attention_mask"][row].sum()
        assert length - used < least + 2, "a row ends only where nothing more would fit"
        for number, piece in enumerate(found):
            document = np.searchsorted(document_ends, piece[0], side="right")
            assert (np.diff(piece) == 1).all() and piece[-1] < document_ends[document]
            assert piece[0] in sentence_starts
            assert len(piece) >= min(least, sizes[document]), "no piece is short for want of a better place"
            cut = number == len(found) - 1 and used == length
            assert cut or piece[-1] + 1 in sentence_starts
            if short == 0 and not cut:
                assert piece[-1] + 1 == document_ends[document], "a piece goes on to the end of its document"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0.02, 0.15, 0.5, 1.0]))
def test_predictions_are_counted_by_row_and_never_special(seed, whole_word, probability):
    store = random_store(seed)
    batch = packed_of(store, mask_probability=probability, whole_word=whole_word, max_predictions=9).batch(1)
    ids = original_ids(batch)
    for row in range(64):
        used = batch["masked_weights"][row] == 1
        positions = batch["masked_positions"][row][used]
        tokens = batch["attention_mask"][row].sum() - 2 * batch["segment_ids"][row].max()
        wanted = min(9, max(1, round(probability * tokens)))
        assert len(positions) <= wanted if whole_word else len(positions) == wanted
        assert (np.diff(positions) > 0).all() and (batch["segment_ids"][row][positions] > 0).all()
        assert (batch["masked_ids"][row][used] >= SPECIALS).all()
        read = batch["input_ids"][row][positions]
        assert ((read >= SPECIALS) | (read == 4)).all()
        if whole_word:
            chosen = set(positions.tolist())
            for place in range(2, 32):
                continues = ids[row][place] % 3 == 0 and min(ids[row][place - 1 : place + 1]) >= SPECIALS
                assert not continues or (place in chosen) == (place - 1 in chosen)


@pytest.mark.parametrize("short", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("sizes", [(5, 9), (20, 60), (300, 900)], ids=["short", "middle", "long"])
def test_rows_of_512_have_less_than_three_percent_of_padding(sizes, short):
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, 40, max(1, rng.integers(*sizes) // 20)).tolist() for _ in range(200)]
    examples = packed_of(store_of(*documents), sequence_length=512, short_sequence_probability=short, batch_size=500)
    assert examples.batch(0)["attention_mask"].mean() > 0.97


def test_a_third_of_a_row_is_the_most_there_are_pieces():
    batch = packed_of(store_of(*[[1]] * 50)).batch(0)
    assert (batch["segment_ids"].max(axis=1) <= 32 // 3).all()
    assert (batch["attention_mask"].sum(axis=1) > 32 - LEAST - 2).all()


def test_starts_are_uniform_over_sentences_but_for_the_ends_of_documents():
    store = store_of(*[[10, 10, 10, 3, 3]] * 20)
    batch = packed_of(store, batch_size=5000, short_sequence_probability=0.0).batch(0)
    first = original_ids(batch)[:, 1] - SPECIALS
    counts = np.bincount(np.searchsorted(store.sentence_offsets, first), minlength=100).reshape(20, 5).sum(axis=0)
    # Behind the last two sentences there is no room for eight tokens: the third, sixteen before the end, stands in.
    assert counts[3:].tolist() == [0, 0]
    np.testing.assert_allclose(counts[:3] / 5000, [0.2, 0.2, 0.6], atol=0.02)


def test_pieces_of_a_row_are_drawn_independently():
    batch = packed_of(store_of(*[[14]] * 100), batch_size=5000, sequence_length=48, max_predictions=9).batch(0)
    starts = original_ids(batch)[:, [1, 17, 33]] - SPECIALS
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs((starts[:, one] == starts[:, other]).mean() - 0.01) < 0.006


def test_short_pieces_are_as_frequent_as_asked_for():
    store = store_of(*[[1] * 5000] * 3)  # with sentences of one token, lengths are as drawn
    for share in (0.0, 0.25, 1.0):
        batch = packed_of(store, batch_size=4000, sequence_length=64, short_sequence_probability=share).batch(0)
        lengths = (batch["segment_ids"] == 1).sum(axis=1) - 2
        assert lengths.min() >= LEAST and lengths.max() == 62
        np.testing.assert_allclose((lengths < 62).mean(), share * 54 / 55, atol=0.025)


def test_fields_have_their_shapes_and_types():
    batch = packed_of(random_store(0)).batch(0)
    sizes = {"S": (64, 32), "P": (64, 6)}
    assert {name: value.shape for name, value in batch.items()} == {name: sizes[kind] for name, kind in FIELDS.items()}
    dtypes = {name: str(value.dtype) for name, value in batch.items()}
    assert dtypes == {name: "float32" if name == "masked_weights" else "int32" for name in FIELDS}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(LENGTHS), st.booleans(), st.integers(0, 64), st.integers(0, 64))
def test_rows_made_alone_equal_rows_of_the_batch(seed, length, whole_word, start, stop):
    examples = packed_of(random_store(seed), sequence_length=length, max_predictions=4, whole_word=whole_word)
    whole, part = examples.batch(5), examples.batch(5, slice(start, stop))
    for name in FIELDS:
        np.testing.assert_array_equal(part[name], whole[name][start:stop])


def test_examples_depend_on_their_global_index_and_the_seed():
    store = random_store(2)
    large, small = packed_of(store), packed_of(store, batch_size=16)
    for name in FIELDS:
        parts = np.concatenate([small.batch(step)[name] for step in range(8, 12)])
        np.testing.assert_array_equal(large.batch(2)[name], parts)
    others = [large.batch(0), large.batch(1), packed_of(store, seed=4).batch(0)]
    assert len({batch["input_ids"].tobytes() for batch in others}) == 3


def test_a_real_store_gives_text_back(tmp_path, documents, tokenizer):
    store = make_stores(tmp_path, documents, tokenizer)["train"]
    examples = PackedExamples(store, tokenizer, seed=0, batch_size=4, sequence_length=96, max_predictions=12)
    batch = examples.batch(0)
    corpus = " ".join(document.replace("\n", " ").lower() for document in documents)
    ids = original_ids(batch)
    for row in range(4):
        for piece in range(1, batch["segment_ids"][row].max() + 1):
            tokens = ids[row][batch["segment_ids"][row] == piece][1:-1]
            # The last one may end within a word.
            assert tokenizer.decode(tokens[:-3]).strip(" .") in corpus


def test_documents_of_one_sentence_are_enough():
    batch = packed_of(store_of([4], [40])).batch(0)
    assert batch["segment_ids"].max() > 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"sequence_length": 4}, "sequence_length=4"), ({"max_predictions": 33}, "max_predictions=33")],
)
def test_what_cannot_work_is_refused_at_once(settings, message):
    with pytest.raises(UserError, match=message):
        packed_of(random_store(0), **settings)


def test_a_tokenizer_of_another_size_is_refused():
    store = random_store(0)
    with pytest.raises(UserError, match="the tokenizer has 9"):
        PackedExamples(store, FakeVocabulary(9), seed=0, batch_size=1, sequence_length=8, max_predictions=1)
