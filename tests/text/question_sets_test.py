"""Questions of data sets that are written here, and read for real."""

import json
import re

import numpy as np
import pytest

from mobilebert_jax.text.question_sets import open_questions, read_heldout
from mobilebert_jax.text.squad_json import read_squad
from mobilebert_jax.utils.errors import UserError

PASSAGES = ["Cats sleep. Ünïcode \r\n runs.", "Dogs run."]


def rows(part, count=6, impossible=True):
    """As the hub has them: two passages after each other, every third question without an answer."""
    made = {name: [] for name in ("id", "title", "context", "question", "answers")}
    for number in range(count):
        passage = PASSAGES[number * len(PASSAGES) // count]
        none = impossible and number % 3 == 2
        texts = [] if none else [passage.split()[0], passage.split()[1]][: 1 + number % 2]
        answers = {"text": texts, "answer_start": [passage.index(text) for text in texts]}
        values = (f"{part}-{number}", f"title {number // 4}", passage, f"Who? {number}", answers)
        for name, value in zip(made, values, strict=True):
            made[name].append(value)
    return made


def as_json(made):
    """The same questions as a SQuAD file has them."""
    articles = []
    for identity, title, context, question, answers in zip(*made.values(), strict=True):
        if not articles or articles[-1]["title"] != title:
            articles.append({"title": title, "paragraphs": []})
        if not articles[-1]["paragraphs"] or articles[-1]["paragraphs"][-1]["context"] != context:
            articles[-1]["paragraphs"].append({"context": context, "qas": []})
        listed = [dict(zip(answers, pair, strict=True)) for pair in zip(*answers.values(), strict=True)]
        entry = {"id": identity, "question": question, "answers": listed, "is_impossible": not listed}
        articles[-1]["paragraphs"][-1]["qas"].append(entry)
    return articles


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A folder of `save_to_disk` with the splits train and validation."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("hub") / "squad"
    parts = {part: datasets.Dataset.from_dict(rows(part)) for part in ("train", "validation")}
    datasets.DatasetDict(parts).save_to_disk(folder)
    return folder


def test_a_data_set_is_trained_on_and_scored_by_its_splits(hub):
    parts = open_questions(f"hf:{hub}")
    assert parts["train"]["data"] == as_json(rows("train"))
    assert parts["heldout"]["data"] == as_json(rows("validation")) == read_heldout(f"hf:{hub}")["data"]


def test_a_split_that_is_named_is_all_there_is(hub):
    parts = open_questions(f"hf:{hub}@validation")
    ids = {
        part: {entry["id"] for article in squad["data"] for each in article["paragraphs"] for entry in each["qas"]}
        for part, squad in parts.items()
    }
    assert ids["train"] | ids["heldout"] == {f"validation-{number}" for number in range(6)}
    assert ids["heldout"] and not ids["train"] & ids["heldout"]
    assert read_heldout(f"hf:{hub}@train")["data"] == as_json(rows("train"))


def test_a_dev_set_may_be_of_another_kind(hub, tmp_path):
    (tmp_path / "q.json").write_text(json.dumps({"data": as_json(rows("file"))}))
    parts = open_questions(f"hf:{hub}", str(tmp_path / "q.json"))
    assert parts["train"]["data"] == as_json(rows("train"))
    assert parts["heldout"] == read_squad(tmp_path / "q.json")
    parts = open_questions(str(tmp_path / "q.json"), f"hf:{hub}@train")
    assert (parts["train"]["data"], parts["heldout"]["data"]) == (as_json(rows("file")), as_json(rows("train")))
    builtin = open_questions("builtin:python-docs-qa", f"hf:{hub}")
    assert builtin["train"] == open_questions("builtin:python-docs-qa")["train"]


def test_a_split_that_is_missing_is_one_line(hub, tmp_path):
    datasets = pytest.importorskip("datasets")
    with pytest.raises(UserError, match="no split 'test'; the splits are train, validation"):
        open_questions(f"hf:{hub}@test")
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows("train"))}).save_to_disk(tmp_path / "one")
    with pytest.raises(UserError, match="no split 'validation'; the splits are train"):
        open_questions(f"hf:{tmp_path}/one")
    assert len(open_questions(f"hf:{tmp_path}/one@train")) == 2


def test_answers_may_stand_as_a_list_of_objects(tmp_path):
    pytest.importorskip("datasets")
    line = {"id": 7, "context": "Cats sleep.", "question": "Who?", "answers": [{"text": "Cats", "answer_start": 0}]}
    (tmp_path / "q.jsonl").write_text(json.dumps(line) + "\n")
    (article,) = read_heldout(f"hf:{tmp_path}/q.jsonl")["data"]
    (paragraph,) = article["paragraphs"]
    assert paragraph.pop("context") == line.pop("context")
    assert paragraph["qas"] == [{**line, "id": "7", "is_impossible": False}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": None}, "row 1: context is NoneType; a text is needed"),
        ({"answers": None}, "row 1: answers must have a text and a number answer_start each"),
        ({"answers": {"text": ["Dogs"], "answer_start": []}}, "row 1: answers must have"),
        ({"answers": {"text": [], "answer_start": []}, "is_impossible": False}, "row 1: no answers, and is_impossible"),
    ],
)
def test_a_row_of_another_form_is_refused_by_its_place(tmp_path, change, message):
    datasets = pytest.importorskip("datasets")
    made = rows("train", 3, impossible=False)
    if "is_impossible" in change:
        made["is_impossible"] = [False] * 3
    for name, value in change.items():
        made[name][1] = value
    datasets.Dataset.from_dict(made).save_to_disk(tmp_path / "squad")
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        open_questions(f"hf:{tmp_path}/squad", f"hf:{tmp_path}/squad")
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named(tmp_path):
    datasets = pytest.importorskip("datasets")
    made = rows("train")
    del made["context"]
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(made)}).save_to_disk(tmp_path / "squad")
    with pytest.raises(UserError, match="row 0: no column 'context'; questions need id, question, context, answers"):
        open_questions(f"hf:{tmp_path}/squad@train")


def test_tfds_has_the_same_questions(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinySquad(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Questions in the form of TFDS' own."""

        VERSION = tfds.core.Version("2.0.0")
        url_infos = {}  # noqa: RUF012

        def _info(self):
            answers = {"text": tfds.features.Text(), "answer_start": np.int32}
            features = dict.fromkeys(("id", "title", "context", "question"), tfds.features.Text())
            features |= {"answers": tfds.features.Sequence(answers), "is_impossible": np.bool_}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {part: self._generate_examples(part) for part in ("train", "validation")}

        def _generate_examples(self, part):
            made = rows(part)
            for number, values in enumerate(zip(*made.values(), strict=True)):
                row = dict(zip(made, values, strict=True))
                yield number, row | {"is_impossible": not row["answers"]["text"]}

    TinySquad(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    parts = open_questions(f"tfds:{tmp_path}/tiny_squad/2.0.0")

    def flat(articles):
        return sorted(
            (entry["id"], each["context"], json.dumps(entry, sort_keys=True))
            for article in articles
            for each in article["paragraphs"]
            for entry in each["qas"]
        )

    assert flat(parts["train"]["data"]) == flat(as_json(rows("train")))
    assert flat(parts["heldout"]["data"]) == flat(as_json(rows("validation")))
    with pytest.raises(UserError, match="no split 'test'; the splits are"):
        read_heldout(f"tfds:{tmp_path}/tiny_squad/2.0.0@test")
