from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.examples import PretrainingExamples
from mobilebert_jax.text.store import TokenStore
from mobilebert_jax.utils.errors import UserError
from tests.text.stores import make_stores

SPECIALS = 5
FIELDS = {
    "input_ids": "S",
    "attention_mask": "S",
    "token_type_ids": "S",
    "masked_positions": "P",
    "masked_ids": "P",
    "masked_weights": "P",
    "next_sentence_labels": "",
}


@dataclass
class FakeVocabulary:
    vocab_size: int
    pad_id: int = 0
    unk_id: int = 1
    cls_id: int = 2
    sep_id: int = 3
    mask_id: int = 4
    special_ids: tuple = (0, 1, 2, 3, 4)
    continuation: np.ndarray = field(default=None)


def store_of(*documents):
    """A store whose n-th token is n + 5, so that every id tells its place; documents are lists of sentence lengths."""
    lengths = [length for document in documents for length in document]
    tokens = np.arange(sum(lengths)) + SPECIALS
    manifest = {"vocab_size": len(tokens) + SPECIALS}
    offsets = [np.cumsum([0, *values]) for values in (lengths, map(len, documents))]
    return TokenStore((tokens.astype(np.uint16),), *offsets, manifest)


def examples_of(store, seed=3, **settings):
    vocabulary = FakeVocabulary(store.manifest["vocab_size"])
    vocabulary.continuation = np.arange(vocabulary.vocab_size) % 3 == 0
    defaults = {"batch_size": 64, "sequence_length": 32, "max_predictions": 6}
    return PretrainingExamples(store, vocabulary, seed=seed, **(defaults | settings))


def random_store(seed):
    rng = np.random.default_rng(seed)
    documents = [rng.integers(1, rng.integers(2, 30), rng.integers(1, 9)).tolist() for _ in range(rng.integers(2, 12))]
    return store_of([3, 4], *documents)


def segments(batch, row):
    """The original ids of both segments of an example, special tokens checked and taken off."""
    ids = batch["input_ids"][row].copy()
    used = batch["masked_weights"][row] == 1
    ids[batch["masked_positions"][row][used]] = batch["masked_ids"][row][used]
    length = batch["attention_mask"][row].sum()
    assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (len(ids) - length)
    second = batch["token_type_ids"][row].sum()
    assert batch["token_type_ids"][row].tolist() == [0] * (length - second) + [1] * second + [0] * (len(ids) - length)
    assert ids[0] == 2 and ids[length - second - 1] == 3 and ids[length - 1] == 3 and (ids[length:] == 0).all()
    return ids[1 : length - second - 1] - SPECIALS, ids[length - second : length - 1] - SPECIALS


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([5, 8, 16, 32, 33, 64]), st.floats(0, 1))
def test_pairs_are_what_the_labels_say(seed, length, short):
    store = random_store(seed)
    batch = examples_of(store, sequence_length=length, max_predictions=4, short_sequence_probability=short).batch(seed)
    sentence_of = np.repeat(np.arange(store.num_sentences), np.diff(store.sentence_offsets))
    document_of = np.repeat(np.arange(store.num_documents), np.diff(store.document_offsets))[sentence_of]
    for row in range(64):
        first, second = segments(batch, row)
        assert len(first) and len(second) and len(first) + len(second) <= length - 3
        for segment in (first, second):
            assert (np.diff(segment) == 1).all(), "a run of the store"
            assert len(set(document_of[segment])) == 1, "from one document"
        same = document_of[first[0]] == document_of[second[0]]
        assert same == (batch["next_sentence_labels"][row] == 0)
        assert np.diff(store.document_offsets)[document_of[first[0]]] > 1, "single sentences never start a pair"
        if same:
            assert sentence_of[second[0]] > sentence_of[first[-1]], "segments share no sentence"
            if len(first) + len(second) < length - 3:
                assert second[0] == first[-1] + 1, "uncut, the second follows at once"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0.02, 0.15, 0.5, 1.0]))
def test_predictions_are_counted_sorted_and_never_special(seed, whole_word, probability):
    store = random_store(seed)
    examples = examples_of(store, mask_probability=probability, whole_word=whole_word)
    batch = examples.batch(1)
    for row in range(64):
        maskable = batch["attention_mask"][row].sum() - 3
        count = int(batch["masked_weights"][row].sum())
        wanted = min(6, max(1, round(probability * maskable)))
        assert count <= wanted if whole_word else count == wanted
        assert batch["masked_weights"][row].tolist() == [1] * count + [0] * (6 - count)
        positions = batch["masked_positions"][row]
        assert (np.diff(positions[:count]) > 0).all() and (positions[:count] > 0).all()
        assert (positions[count:] == 0).all() and (batch["masked_ids"][row][count:] == 0).all()
        assert (batch["masked_ids"][row][:count] >= SPECIALS).all()
        replaced = batch["input_ids"][row][positions[:count]]
        assert ((replaced >= SPECIALS) | (replaced == 4)).all()


def test_whole_words_are_masked_whole():
    examples = examples_of(store_of([40, 40], [40, 40]), whole_word=True)
    batch = examples.batch(0)
    for row in range(64):
        count = int(batch["masked_weights"][row].sum())
        chosen = set(batch["masked_positions"][row][:count].tolist())
        first, second = segments(batch, row)
        for segment, start in ((first, 1), (second, len(first) + 2)):
            for offset, place in enumerate(segment[1:], start=1):
                if (place + SPECIALS) % 3 == 0:  # continues the word of the token before it
                    assert (start + offset in chosen) == (start + offset - 1 in chosen)


def test_fields_have_their_shapes_and_types():
    batch = examples_of(random_store(0)).batch(0)
    sizes = {"S": (32,), "P": (6,), "": ()}
    assert {name: value.shape for name, value in batch.items()} == {n: (64, *sizes[d]) for n, d in FIELDS.items()}
    dtypes = {name: str(value.dtype) for name, value in batch.items()}
    assert dtypes == {name: "float32" if name == "masked_weights" else "int32" for name in FIELDS}


@pytest.mark.parametrize("whole_word", [False, True])
def test_rows_made_alone_equal_rows_of_the_batch(whole_word):
    examples = examples_of(random_store(1), whole_word=whole_word)
    whole, part = examples.batch(5), examples.batch(5, slice(10, 23))
    for name in FIELDS:
        np.testing.assert_array_equal(part[name], whole[name][10:23])
    for name, value in examples.batch(5, slice(0, 0)).items():
        assert len(value) == 0, name


def test_examples_depend_on_their_global_index_not_on_the_batch_size():
    store = random_store(2)
    large, small = examples_of(store), examples_of(store, batch_size=16)
    for name in FIELDS:
        parts = np.concatenate([small.batch(step)[name] for step in range(8, 12)])
        np.testing.assert_array_equal(large.batch(2)[name], parts)


def test_seeds_and_steps_give_other_examples():
    store = random_store(3)
    batches = [examples_of(store).batch(0), examples_of(store).batch(1), examples_of(store, seed=4).batch(0)]
    assert len({batch["input_ids"].tobytes() for batch in batches}) == 3


def test_proportions_over_many_examples():
    store = store_of(*[[10, 10, 10]] * 40, *[[10]] * 10)
    batch = examples_of(store, batch_size=20_000).batch(0)
    used = batch["masked_weights"] == 1
    seen = np.take_along_axis(batch["input_ids"], batch["masked_positions"], axis=1)[used]
    original = batch["masked_ids"][used]
    assert abs(batch["next_sentence_labels"].mean() - 0.5) < 0.012
    assert abs((seen == 4).mean() - 0.8) < 0.01
    assert abs((seen == original).mean() - 0.1) < 0.01
    assert abs(used.sum() / (batch["attention_mask"].sum() - 60_000) - 0.15) < 0.015
    starts = np.array([segments(batch, row)[0][0] // 10 for row in range(8000)])
    counts = np.bincount(starts, minlength=130)
    assert (counts[120:] == 0).all() and (counts[:120:3] > 0).all() and (counts[1:120:3] > 0).all()
    assert counts[:120:3].std() / counts[:120:3].mean() < 0.2, "starts are uniform"


def test_short_sequences_are_uniform_from_two_tokens():
    store = store_of([1] * 3000, [1] * 3000)  # with sentences of one token, lengths are as drawn
    for share in (0.0, 0.25, 1.0):
        batch = examples_of(store, batch_size=5000, short_sequence_probability=share).batch(0)
        lengths = batch["attention_mask"].sum(axis=1) - 3
        assert lengths.min() >= 2 and lengths.max() == 29
        np.testing.assert_allclose((lengths < 29).mean(), share * 27 / 28, atol=0.025)
        if share == 1.0:
            np.testing.assert_allclose(np.bincount(lengths)[2:] / 5000, 1 / 28, atol=0.012)


def test_single_sentence_documents_serve_as_second_segments():
    store = store_of([10, 10], [10])
    batch = examples_of(store).batch(0)
    for row in np.flatnonzero(batch["next_sentence_labels"]):
        assert (segments(batch, row)[1] >= 20).all()


def test_a_real_store_gives_text_back(tmp_path, documents, tokenizer):
    store = make_stores(tmp_path, documents, tokenizer)["train"]
    examples = PretrainingExamples(
        store, tokenizer, seed=0, batch_size=4, sequence_length=48, max_predictions=8, mask_probability=0.01
    )
    batch = examples.batch(0)
    corpus = " ".join(document.replace("\n", " ").lower() for document in documents)
    ids = batch["input_ids"].copy()
    np.put_along_axis(ids, batch["masked_positions"][:, :1], batch["masked_ids"][:, :1], axis=1)
    separator = batch["token_type_ids"][0].argmax() - 1
    assert tokenizer.decode(ids[0, 3:separator]) in corpus


@pytest.mark.parametrize(
    ("store", "settings", "message"),
    [
        (store_of([2, 2]), {}, "1 documents with 2 sentences"),
        (store_of([4], [4]), {}, "2 documents with 2 sentences"),
        (random_store(0), {"sequence_length": 4}, "sequence_length=4"),
        (random_store(0), {"max_predictions": 33}, "max_predictions=33"),
        (random_store(0), {"max_predictions": 0}, "max_predictions=0"),
        (random_store(0), {"mask_probability": 0.0}, "mask_probability=0.0"),
        (random_store(0), {"batch_size": 0}, "batch_size=0"),
    ],
)
def test_what_cannot_work_is_refused_at_once(store, settings, message):
    with pytest.raises(UserError, match=message):
        examples_of(store, **settings)


def test_a_tokenizer_of_another_size_is_refused():
    store = random_store(0)
    with pytest.raises(UserError, match="the tokenizer has 9"):
        PretrainingExamples(store, FakeVocabulary(9), seed=0, batch_size=1, sequence_length=8, max_predictions=1)
