import functools
import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_predict import Predictions, best_threshold, predict_questions, write_predictions
from mobilebert_jax.tasks.squad_scores import score_predictions
from mobilebert_jax.text import window_groups
from mobilebert_jax.text.tokenizer import train_tokenizer

FILLER = "the cat sat on the mat and the dog ran"


@functools.cache
def tokenizer():
    return train_tokenizer([FILLER, "zebra who sat ran zebra"] * 4, 150)


def ask(identity, passage, *answers):
    return Question(identity, "", "Who ran?", passage, answers, not answers)


QUESTIONS = [
    ask("near", "the Zebra ran", ("Zebra", 4)),
    ask("far", f"{FILLER} {FILLER} {FILLER} zebra {FILLER}", ("zebra", 117)),
    ask("twice", "Zebra sat. Zebra ran", ("Zebra", 0)),
    ask("none", FILLER),
    ask("empty", ""),
]


def find_zebra(batch):
    """Likes "zebra", and rather says nothing where there is none."""
    [zebra] = tokenizer().encode_batch(["zebra"])
    start = np.where((batch["input_ids"] == zebra.ids[0]) & (batch["token_type_ids"] == 1), 6.0, 0.0)
    end = np.where((batch["input_ids"] == zebra.ids[-1]) & (batch["token_type_ids"] == 1), 6.0, 0.0)
    start[:, 0] = 2.0
    return start, end


def predict(**settings):
    settings = {"sequence_length": 24, "doc_stride": 8, "batch_size": 4, "progress": False} | settings
    return predict_questions(find_zebra, tokenizer(), QUESTIONS, **settings)


def test_texts_are_the_passages_own_and_silence_wins_where_it_scores_higher():
    predictions = predict()
    assert predictions.texts == {"near": "Zebra", "far": "zebra", "twice": "Zebra", "none": "", "empty": ""}
    assert predictions.null_odds["near"] == -10 and predictions.null_odds["none"] == 2
    assert math.isfinite(predictions.null_odds["empty"])
    assert score_predictions(QUESTIONS, predictions.texts)["exact"] == 100


def test_an_n_best_list_has_each_text_once_in_order_with_its_place():
    predictions = predict()
    for question in QUESTIONS:
        entries = predictions.nbest[question.id]
        scores = [entry["score"] for entry in entries]
        assert scores == sorted(scores, reverse=True)
        assert len({entry["text"] for entry in entries}) == len(entries)
        assert sum(entry["probability"] for entry in entries) == pytest.approx(1)
        assert [entry["start"] for entry in entries if not entry["text"]] == [None]
        for entry in entries:
            if entry["text"]:
                assert question.passage[entry["start"] : entry["end"]] == entry["text"]


def test_a_threshold_decides_when_to_be_silent():
    assert predict(threshold=-10.5).texts["near"] == ""
    talkative = predict(threshold=math.inf)
    assert talkative.texts["none"] and talkative.texts["empty"] == ""
    assert talkative.texts_at(0.0) == predict().texts


def test_small_groups_and_other_batch_sizes_change_nothing(monkeypatch):
    whole = predict()
    monkeypatch.setattr(window_groups, "_GROUP_CHARACTERS", 600)
    assert predict(batch_size=3) == whole
    assert predict(batch_size=3, bucketing=False) == whole


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_counts_questions_on_stderr_and_only_on_a_terminal(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    predict(progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and (f"{len(QUESTIONS)}/{len(QUESTIONS)}" in captured.err) is terminal


def test_three_files_are_written_as_plain_json(tmp_path):
    predictions = predict()
    write_predictions(predictions, tmp_path / "scores")

    def refuse(constant):
        raise AssertionError(constant)

    files = {path.name: json.loads(path.read_text(), parse_constant=refuse) for path in (tmp_path / "scores").iterdir()}
    assert files == {
        "predictions.json": predictions.texts,
        "nbest_predictions.json": predictions.nbest,
        "null_odds.json": predictions.null_odds,
    }


def made_up(cases):
    """Questions and predictions from (has an answer, the model's text, its odds)."""
    questions = [ask(str(n), "a cat sat", *([("cat sat", 2)] if has else [])) for n, (has, _, _) in enumerate(cases)]
    nbest = {str(n): [{"text": ""}, *([{"text": text}] if text else [])] for n, (_, text, _) in enumerate(cases)}
    return questions, Predictions({}, nbest, {str(n): float(odds) for n, (_, _, odds) in enumerate(cases)})


CASE = st.tuples(st.booleans(), st.sampled_from(["", "cat", "cat sat", "dog"]), st.integers(-4, 4))


@settings(max_examples=50, deadline=None)
@given(st.lists(CASE, min_size=1, max_size=8))
def test_the_best_threshold_is_the_best_of_all_and_reaches_its_score(cases):
    questions, predictions = made_up(cases)
    found = best_threshold(questions, predictions)
    for name in ("exact", "f1"):
        tried = [score_predictions(questions, predictions.texts_at(t))[name] for t in np.arange(-5.5, 5.5)]
        assert found[f"best_{name}"] == pytest.approx(max(tried))
        reached = score_predictions(questions, predictions.texts_at(found[f"best_{name}_thresh"]))
        assert reached[name] == pytest.approx(found[f"best_{name}"])
