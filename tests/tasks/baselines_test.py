import pytest

from mobilebert_jax.tasks.baselines import baseline_predictions, baseline_scores
from mobilebert_jax.tasks.squad_data import Question

ENTRIES = {
    "loads": "Turn text into an object",
    "dumps": "Turn an object into text: compact",
    "x": "Sing loudly",
}
PASSAGE = "\n".join(f"{name}\n{summary}." for name, summary in ENTRIES.items())


def ask(identity, passage=PASSAGE, *answers):
    return Question(identity, "", "What is it?", passage, tuple((answer, 0) for answer in answers), not answers)


def test_the_three_baselines_of_an_entry_passage():
    questions = [ask(str(n)) for n in range(60)]
    texts = baseline_predictions(questions, seed=1)
    assert set(texts["no_answer"].values()) == {""}
    assert set(texts["first_sentence"].values()) == {"Turn text into an object."}
    assert set(texts["random_entry"].values()) == set(ENTRIES.values())


@pytest.mark.parametrize(
    ("passage", "first", "entries"),
    [
        ("One cat. Two dogs.", "One cat.", {"One cat.", "Two dogs."}),
        ("\n  One cat. Two dogs.\n", "One cat.", {"One cat.", "Two dogs."}),
        ("Cats\n\nDogs", "Cats", {"Cats", "Dogs"}),
        ("Cats\nOne cat. Two cats.\nDogs\nTwo dogs.", "One cat.", {"One cat. Two cats", "Two dogs"}),
        ("", "", {""}),
    ],
)
def test_passages_of_other_forms(passage, first, entries):
    texts = baseline_predictions([ask(str(n), passage) for n in range(40)])
    assert set(texts["first_sentence"].values()) == {first}
    assert set(texts["random_entry"].values()) == entries


def test_the_seed_alone_decides_the_random_entries():
    questions = [ask(str(n)) for n in range(60)]
    first, again, other = (baseline_predictions(questions, seed)["random_entry"] for seed in (0, 0, 1))
    assert first == again != other


def test_baselines_are_scored_as_predictions_are():
    scores = baseline_scores([ask("a"), ask("b", PASSAGE, "Sing loudly"), ask("c", "One cat. Two dogs.", "one cat")])
    assert (scores["no_answer"]["NoAns_f1"], scores["no_answer"]["HasAns_f1"]) == (100, 0)
    assert scores["first_sentence"]["HasAns_exact"] == 50
    assert scores["random_entry"]["NoAns_f1"] == 0
