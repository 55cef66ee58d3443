import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.inference.spans import answer_end, best_spans
from mobilebert_jax.text.windows import Windows


def make_windows(example, in_passage, max_context, char_start, char_end):
    zeros = np.zeros_like(char_start)
    return Windows(zeros, zeros, zeros, np.asarray(example, np.int32), char_start, char_end, in_passage, max_context)


def random_windows(rng, rows, tokens, questions):
    """Windows whose first two tokens are no passage; spans of characters repeat now and then, some are empty."""
    in_passage = rng.random((rows, tokens)) < 0.8
    in_passage[:, :2] = False
    example = np.sort(np.concatenate([np.arange(questions), rng.integers(0, questions, rows - questions)]))
    start = np.where(in_passage, np.sort(rng.integers(0, 6, (rows, tokens)), axis=1), -1).astype(np.int32)
    end = np.where(in_passage, start + (rng.random((rows, tokens)) < 0.8), -1).astype(np.int32)
    return make_windows(example, in_passage, in_passage & (rng.random((rows, tokens)) < 0.7), start, end)


def brute_force(windows, start_logits, end_logits, question, longest):
    """Best score by characters over every allowed pair of tokens."""
    best = {}
    for row in np.nonzero(windows.example == question)[0]:
        for start in np.nonzero(windows.max_context[row])[0]:
            for end in np.nonzero(windows.in_passage[row])[0]:
                key = int(windows.char_start[row, start]), int(windows.char_end[row, end])
                if start <= end < start + longest and key[0] < key[1]:
                    score = float(start_logits[row, start]) + float(end_logits[row, end])
                    best[key] = max(best.get(key, -np.inf), score)
    return best


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_with_room_for_all_every_allowed_span_is_found_once(seed, longest):
    rng = np.random.default_rng(seed)
    windows = random_windows(rng, rows=5, tokens=10, questions=3)
    start_logits, end_logits = rng.normal(size=(2, 5, 10)).astype(np.float32)
    found, null_scores = best_spans(windows, start_logits, end_logits, n_best=100, max_answer_length=longest)
    assert len(found) == 3
    for question, spans in enumerate(found):
        expected = brute_force(windows, start_logits, end_logits, question, longest)
        assert {(s.start_char, s.end_char): s.score for s in spans} == pytest.approx(expected, abs=1e-12)
        assert [s.score for s in spans] == sorted((s.score for s in spans), reverse=True)
        for span in spans:
            assert windows.example[span.window] == question
            assert windows.char_start[span.window, span.start_token] == span.start_char
            assert windows.char_end[span.window, span.end_token] == span.end_char
        rows = windows.example == question
        assert null_scores[question] == (start_logits[rows, 0].astype(float) + end_logits[rows, 0]).min()


def straight_windows(rows=1, tokens=8):
    """One question; token t >= 2 is characters t to t + 1 of the passage in every window, all with greatest context."""
    in_passage = np.tile(np.arange(tokens) >= 2, (rows, 1))
    start = np.where(in_passage, np.arange(tokens), -1).astype(np.int32)
    return make_windows(np.zeros(rows), in_passage, in_passage, start, np.where(in_passage, start + 1, -1))


def test_tokens_outside_the_passage_never_crowd_it_out():
    logits = np.zeros((1, 8), np.float32)
    logits[0, :2] = 50
    found, null_scores = best_spans(straight_windows(), logits, logits, n_best=2)
    assert found[0] and all(span.start_token >= 2 for span in found[0])
    assert null_scores.tolist() == [100]


@pytest.mark.parametrize("token", [2, 7])
def test_the_first_and_the_last_passage_token_can_be_answers(token):
    logits = np.zeros((1, 8), np.float32)
    logits[0, token] = 5
    best = best_spans(straight_windows(), logits, logits)[0][0][0]
    assert (best.start_char, best.end_char, best.score) == (token, token + 1, 10)


def test_equal_characters_of_two_windows_are_one_candidate_with_the_better_score():
    logits = np.zeros((2, 8), np.float32)
    logits[:, 4] = 1, 3
    spans = best_spans(straight_windows(rows=2), logits, logits)[0][0]
    assert spans[0] == (4, 5, 6.0, 1, 4, 4)
    assert len({(s.start_char, s.end_char) for s in spans}) == len(spans)


def test_only_n_best_starts_and_ends_are_paired_and_kept():
    rng = np.random.default_rng(0)
    start_logits, end_logits = rng.normal(size=(2, 1, 8))
    spans = best_spans(straight_windows(), start_logits, end_logits, n_best=3)[0][0]
    top_starts = set((np.argsort(-start_logits[0, 2:])[:3] + 2).tolist())
    assert 0 < len(spans) <= 3 and {s.start_token for s in spans} <= top_starts


def test_a_question_without_passage_tokens_has_a_null_score_and_no_spans():
    windows = straight_windows()
    nothing = np.zeros_like(windows.in_passage)
    empty = make_windows([0], nothing, nothing, windows.char_start, windows.char_end)
    found, null_scores = best_spans(empty, np.ones((1, 8)), np.ones((1, 8)))
    assert found == [[]] and null_scores.tolist() == [2]


def test_no_windows_no_candidates():
    found, null_scores = best_spans(straight_windows(rows=0), np.zeros((0, 8)), np.zeros((0, 8)))
    assert found == [] and null_scores.shape == (0,)


def test_an_answer_keeps_the_accents_of_its_last_character():
    passage = "un cafe\u0301\u0302 noir"
    assert passage[3 : answer_end(passage, 7)] == "cafe\u0301\u0302"
    assert answer_end(passage, 2) == 2
    assert answer_end("cafe\u0301", 4) == 5


def test_softmax_of_large_scores():
    np.testing.assert_allclose(softmax([1e4, 1e4 + np.log(3)]), [0.25, 0.75])
