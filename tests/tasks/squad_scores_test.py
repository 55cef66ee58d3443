import collections
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_scores import normalize_answer, question_scores, score_predictions
from mobilebert_jax.utils.errors import UserError


def ask(identity, *answers):
    return Question(identity, "", "?", "passage", tuple((answer, 0) for answer in answers), not answers)


def score(gold, prediction, task="squad2"):
    exact, f1 = question_scores([ask("q", *gold)], {"q": prediction}, task)
    return float(exact[0]), float(f1[0])


@pytest.mark.parametrize(
    ("gold", "prediction", "exact", "f1"),
    [
        (["Denver Broncos"], "the denver  broncos!", 1, 1),
        (["Denver Broncos"], "Broncos", 0, 2 / 3),
        (["Denver Broncos", "Broncos"], "Broncos", 1, 1),
        (["a b c d"], "b x c", 0, 2 * (2 / 3) * (2 / 3) / (4 / 3)),
        (["well-known"], "wellknown", 1, 1),
        (["theatre"], "atre", 0, 0),
        (["4"], "", 0, 0),
        ([], "", 1, 1),
        ([], "the", 1, 1),
        ([], "Broncos", 0, 0),
        (["the"], "", 1, 1),
        (["the", "Broncos"], "", 0, 0),
        (["no no yes"], "no yes yes", 0, 2 / 3),
        (["“quoted”"], "quoted", 0, 0),
        (["İstanbul"], "istanbul", 0, 0),
    ],
)
def test_hand_made_cases_follow_the_official_rules(gold, prediction, exact, f1):
    assert score(gold, prediction) == pytest.approx((exact, f1))


def official_normalize(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def official_scores(gold, prediction):
    gold = [text for text in gold if official_normalize(text)] or [""]
    exact = max(int(official_normalize(text) == official_normalize(prediction)) for text in gold)
    return exact, max(
        official_f1(official_normalize(text).split(), official_normalize(prediction).split()) for text in gold
    )


def official_scores_1(gold, prediction):
    """The first version's script: no answer is left out, and where no words are shared F1 is 0."""
    pairs = [(official_normalize(text), official_normalize(prediction)) for text in gold]
    exact = max(int(text == said) for text, said in pairs)
    return exact, max(official_f1(text.split(), said.split()) if text and said else 0 for text, said in pairs)


def official_f1(gold, predicted):
    if not gold or not predicted:
        return int(gold == predicted)
    same = sum((collections.Counter(gold) & collections.Counter(predicted)).values())
    return 2 * same / (len(gold) + len(predicted))


WORDS = st.lists(
    st.sampled_from(
        ["a", "The", "an", "cat", "Cat,", "sat", "'s", "-", "É", "e\u0301", "東京", "İ", "theme", "\u00a0", "\t"]
    ),
    max_size=5,
)
TEXT = st.one_of(WORDS.map(" ".join), st.text(max_size=8))


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, max_size=3), TEXT)
def test_scores_equal_the_official_rules(gold, prediction):
    assert normalize_answer(prediction) == official_normalize(prediction)
    assert score(gold, prediction) == pytest.approx(official_scores(gold, prediction))
    if gold:
        assert score(gold, prediction, "squad1") == pytest.approx(official_scores_1(gold, prediction))


def test_what_normalising_leaves_nothing_of_is_scored_by_each_version_s_rule():
    assert score(["the"], "", "squad1") == score(["!", "cat"], "a", "squad1") == (1, 0)
    assert score(["the"], "") == (1, 1) and score(["!", "cat"], "a") == (0, 0)


def test_the_parts_are_scored_in_percent_and_make_up_the_whole():
    questions = [ask("yes", "cat"), ask("half", "cat sat"), ask("silent"), ask("loud")]
    scores = score_predictions(questions, {"yes": "cat", "half": "cat", "silent": "", "loud": "cat", "unasked": "x"})
    assert scores == pytest.approx(
        {
            "exact": 50,
            "f1": 100 * (1 + 2 / 3 + 1) / 4,
            "total": 4,
            "HasAns_exact": 50,
            "HasAns_f1": 100 * (1 + 2 / 3) / 2,
            "HasAns_total": 2,
            "NoAns_exact": 50,
            "NoAns_f1": 50,
            "NoAns_total": 2,
        }
    )


def test_a_part_without_questions_has_total_zero():
    scores = score_predictions([ask("yes", "cat")], {"yes": "cat"})
    assert (scores["NoAns_total"], scores["NoAns_f1"], scores["exact"]) == (0, 0, 100)


def test_missing_predictions_are_counted_and_the_first_is_named():
    with pytest.raises(UserError, match="2 of 3 questions have no prediction, the first is 'b'"):
        score_predictions([ask("a"), ask("b"), ask("c")], {"a": ""})
