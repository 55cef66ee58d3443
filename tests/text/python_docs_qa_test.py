import pytest

from mobilebert_jax.text.python_docs_qa import build_questions, module_entries
from mobilebert_jax.text.question_sets import open_questions
from mobilebert_jax.utils.errors import UserError


@pytest.fixture(scope="module")
def questions():
    return build_questions()


def paragraphs_of(squad):
    return [(article["title"], paragraph) for article in squad["data"] for paragraph in article["paragraphs"]]


def asked(squad):
    return [question for _, paragraph in paragraphs_of(squad) for question in paragraph["qas"]]


def test_there_are_thousands_of_questions_with_their_own_ids(questions):
    assert 6000 < len(asked(questions["train"])) < 30_000
    assert 300 < len(asked(questions["heldout"])) < 2500
    ids = [question["id"] for squad in questions.values() for question in asked(squad)]
    assert len(set(ids)) == len(ids)


def test_answers_stand_once_at_their_offset_and_have_3_to_12_words(questions):
    for squad in questions.values():
        for _, paragraph in paragraphs_of(squad):
            for question in paragraph["qas"]:
                for answer in question["answers"]:
                    text, start = answer["text"], answer["answer_start"]
                    assert paragraph["context"][start : start + len(text)] == text
                    assert paragraph["context"].count(text) == 1
                    assert 3 <= len(text.split()) <= 12


def test_the_question_names_the_entry_that_answers_it(questions):
    qualified = []
    for title, paragraph in paragraphs_of(questions["train"]):
        lines = paragraph["context"].split("\n")
        entries = dict(zip(lines[::2], lines[1::2], strict=True))
        assert 3 <= len(entries) <= 5
        assert not any(" " in name for name in entries)
        for question in paragraph["qas"]:
            words = [word.rstrip("?") for word in question["question"].split()]
            names = [name for name in entries if {name, f"{title}.{name}"} & set(words)]
            assert question["is_impossible"] == (not names) == (not question["answers"])
            assert all(entries[name] == question["answers"][0]["text"] + "." for name in names)
            qualified.append(any(word.startswith(f"{title}.") for word in words))
    assert 0.4 < sum(qualified) / len(qualified) < 0.6, "half of them with the module"


def test_about_a_quarter_has_no_answer(questions):
    for squad in questions.values():
        share = sum(question["is_impossible"] for question in asked(squad)) / len(asked(squad))
        assert 0.18 < share < 0.32


def test_packages_are_on_one_side_whatever_the_seed(questions):
    other = build_questions(seed=1)
    assert other != questions
    packages = [
        {title.split(".")[0] for title, _ in paragraphs_of(built[part])}
        for part in ("train", "heldout")
        for built in (questions, other)
    ]
    assert packages[0] == packages[1] and packages[2] == packages[3]
    assert not packages[0] & packages[2]


def test_the_same_seed_gives_the_same_questions(questions):
    assert build_questions() == questions == open_questions("builtin:python-docs-qa")


def test_entries_are_public_and_unambiguous():
    by_name = {entry.name: entry for entry in module_entries()["shutil"]}
    assert by_name["rmtree"].kind == "function"
    assert by_name["rmtree"].text == "rmtree\nRecursively delete a directory tree."
    for module, entries in module_entries().items():
        assert not any(part.startswith("_") for entry in entries for part in f"{module}.{entry.name}".split("."))
        summaries = [entry.summary.lower() for entry in entries]
        assert len(set(summaries)) == len(summaries), module


def test_other_builtins_are_refused():
    with pytest.raises(UserError, match="builtin:python-docs-qa is the one"):
        open_questions("builtin:squad")
