import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.tasks.epochs import SORTED_STEPS, Epochs
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_features import SquadFeatures, answer_positions
from mobilebert_jax.text import window_groups
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.text.windows import build_windows
from mobilebert_jax.utils.errors import UserError

WORDS = "the cat sat on mat dog Paris café, zebra. (2015-16) ran?".split()


@functools.cache
def tokenizer():
    return train_tokenizer([" ".join(WORDS)] * 4, 120)


def ask(passage, *answers, identity="q"):
    return Question(identity, "", "Who ran?", passage, answers, not answers)


def build(questions, sequence_length=32, **shape):
    return SquadFeatures.build(tokenizer(), questions, sequence_length, **shape)


def texts(features, question, **shape):
    """The passage text at each window's positions; None for 0, 0."""
    windows = build_windows(tokenizer(), [question.question], [question.passage], **shape)
    assert len(windows) == len(features)
    rows = np.arange(len(windows))
    begins = windows.char_start[rows, features.start_positions].tolist()
    ends = windows.char_end[rows, features.end_positions].tolist()
    return [None if begin < 0 else question.passage[begin:end] for begin, end in zip(begins, ends, strict=True)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=40), st.data())
def test_positions_lead_to_the_answer_in_exactly_the_windows_that_hold_it(words, data):
    passage = " ".join(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(len(words) - 1, first + 5)))
    begin = len(" ".join([*words[:first], ""]))
    answer = " ".join(words[first : last + 1])
    shape = {"sequence_length": 24, "doc_stride": 7, "max_query_length": 9}
    question = ask(passage, (answer, begin))
    features = build([question], **shape)
    windows = build_windows(tokenizer(), [question.question], [passage], **shape)
    for row, text in enumerate(texts(features, question, **shape)):
        seen = set()
        for token in np.nonzero(windows.in_passage[row])[0]:
            seen.update(range(windows.char_start[row, token], windows.char_end[row, token]))
        holds = all(passage[c].isspace() or c in seen for c in range(begin, begin + len(answer)))
        assert text == (answer if holds else None)


def test_an_answer_inside_a_word_is_cut_out_when_the_pieces_allow_it():
    question = ask("the cat (2015-16) ran", ("16", 14))
    assert texts(build([question]), question, sequence_length=32) == ["16"]


def test_impossible_questions_and_answers_longer_than_a_window_have_positions_zero():
    features = build([ask("the cat sat"), ask(" ".join(WORDS), (" ".join(WORDS), 0))], sequence_length=16)
    assert not features.start_positions.any() and not features.end_positions.any()


def test_an_answer_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="question 'q': its answer is not in the passage"):
        build([ask("the cat", ("dog", 0))])


def test_many_small_groups_give_the_same_features(monkeypatch):
    questions = [ask("the cat sat on mat " * n, ("cat", 4), identity=str(n)) for n in range(1, 12)]
    whole = build(questions, sequence_length=20, doc_stride=5)
    monkeypatch.setattr(window_groups, "_GROUP_CHARACTERS", 1000)
    parts = build(questions, sequence_length=20, doc_stride=5)
    for name in ("input_ids", "attention_mask", "token_type_ids", "start_positions", "end_positions"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_answer_positions_of_windows_that_share_an_answer():
    windows = build_windows(tokenizer(), ["Who?"], ["on on on cat on on on on on"], sequence_length=10, doc_stride=1)
    start, end = answer_positions(windows, np.array([[9, 12]], np.int32))
    holds = (windows.char_start == 9).any(axis=1)
    np.testing.assert_array_equal(start > 0, holds)
    np.testing.assert_array_equal(start, end)
    assert 1 < holds.sum() < len(windows) and start.dtype == end.dtype == np.int32


@functools.cache
def numbered_features(count=7):
    """Features whose first id is their own number."""
    ids = np.arange(count, dtype=np.int32)[:, None]
    epochs = Epochs(np.ones(count, np.int64), np.array([1]))
    return SquadFeatures(ids, ids.astype(np.int8), ids.astype(np.int8), ids[:, 0], ids[:, 0], epochs)


def rows_of(step, batch_size, seed=0):
    return numbered_features().batch(step, seed, batch_size)["input_ids"][:, 0].tolist()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_every_epoch_holds_every_window_once_in_its_own_order(batch_size):
    rows = [row for step in range(42) for row in rows_of(step, batch_size)]
    epochs = [rows[begin : begin + 7] for begin in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1


def test_a_batch_depends_on_seed_and_step_alone():
    later = rows_of(5, 4)
    assert [rows_of(step, 4) for step in range(6)][5] == later
    assert [rows_of(step, 4, seed=1) for step in range(6)] != [rows_of(step, 4) for step in range(6)]


def test_a_batch_is_int32():
    batch = build([ask("the cat sat", ("cat", 4))]).batch(0, 0, 2)
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids", "start_positions", "end_positions"}
    assert all(value.dtype == np.int32 and len(value) == 2 for value in batch.values())


def test_short_windows_come_in_batches_of_their_own_and_lose_nothing():
    rng = np.random.default_rng(0)
    questions = [
        ask(f"{words} zebra", ("zebra", len(words) + 1), identity=str(number))
        for number, length in enumerate(rng.integers(1, 60, 80).tolist())
        for words in [" ".join(rng.choice(WORDS[:6], length))]
    ]
    whole, short = (build(questions, sequence_length=64, bucketing=on) for on in (False, True))
    names = ("input_ids", "attention_mask", "token_type_ids", "start_positions", "end_positions")
    seen = {}
    for kind, features in (("whole", whole), ("short", short)):
        batches = [features.batch(step, 3, 4) for step in range(SORTED_STEPS)]
        lengths = [batch["input_ids"].shape[1] for batch in batches]
        assert set(lengths) == {64} if kind == "whole" else len(set(lengths)) > 3 and np.mean(lengths) < 50
        for batch, length in zip(batches, lengths, strict=True):
            assert batch["attention_mask"].sum(axis=1).max() < length or length == 64
        padded = [
            {
                name: np.pad(v, [(0, 0), (0, 64 - v.shape[1])]) if v.ndim == 2 else v[:, None]
                for name, v in batch.items()
            }
            for batch in batches
        ]
        rows = np.concatenate([np.concatenate([batch[name] for name in names], axis=1) for batch in padded])
        seen[kind] = rows[np.lexsort(rows.T)]
    np.testing.assert_array_equal(seen["whole"], seen["short"])
