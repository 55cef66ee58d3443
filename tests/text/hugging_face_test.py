"""Data sets written here and read for real; the hub is replaced, for tests have no network."""

import json

import pytest

from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.utils.errors import UserError

datasets = pytest.importorskip("datasets")

ROWS = {"text": ["One. ", "", None, "Two.\n\nThree."], "body": ["a", "b", "c", "d"], "n": [1, 2, 3, 4]}
DOCUMENTS = ["One.", "Two.\nThree."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hf")
    rows = datasets.Dataset.from_dict(ROWS)
    rows.save_to_disk(folder / "saved")
    datasets.DatasetDict({"train": rows, "validation": rows.select([0])}).save_to_disk(folder / "splits")
    rows.to_parquet(folder / "a.parquet")
    rows.to_json(folder / "a.jsonl")
    (folder / "layout").mkdir()
    for split, part in (("train", rows), ("validation", rows.select([3]))):
        part.to_parquet(folder / "layout" / f"{split}-00000-of-00001.parquet")
    (folder / "other.txt").write_text("text")
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("saved", DOCUMENTS),
        ("saved#body", ["a", "b", "c", "d"]),
        ("splits#text", DOCUMENTS),
        ("splits@validation#body", ["a"]),
        ("layout", DOCUMENTS),
        ("layout@validation", DOCUMENTS[1:]),
        ("a.parquet", DOCUMENTS),
        ("*.parquet#body", ["a", "b", "c", "d"]),
        ("a.jsonl#text", DOCUMENTS),
    ],
)
def test_local_data_sets_are_read_in_order_again_and_again(folder, name, expected):
    corpus = open_corpus(f"hf:{folder}/{name}")
    assert list(corpus) == expected
    assert list(corpus) == expected
    assert len(corpus.identity["corpus_fingerprint"]) == 64


def test_the_fingerprint_follows_the_content(folder, tmp_path):
    for name, text in (("a", "One."), ("b", "One."), ("c", "Two.")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": text}))
    first, same, other = (open_corpus(f"hf:{tmp_path}/{name}.jsonl").identity for name in "abc")
    assert first == same != other


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("saved#title", 'no field "title"; the fields are body, n, text'),
        ("a.parquet#title", 'no field "title"; the fields are body, n, text'),
        ("a.jsonl#title", 'no field "title"; the fields are body, n, text'),
        ("saved#n", 'row 1: "n" is int; a string is needed'),
        ("splits@test", "no split 'test'; the splits are train, validation"),
        ("saved@test", "has no splits; leave @test out"),
        ("a.parquet@test", "files have no splits; leave @test out"),
        ("layout@test", "test"),
        ("gone", "no such folder or file"),
        ("gone.parquet", "no such folder or file"),
        ("other.txt", "files of one kind are needed, all .parquet or all .json or .jsonl"),
        ("a.*", "files of one kind are needed"),
        ("broken.jsonl", "JSON parse error"),
        ("broken.parquet", "Parquet magic bytes not found"),
        (
            "latin.jsonl",
            "latin.jsonl: not UTF-8 text (line 2, byte 30: invalid continuation byte); convert it",
        ),
        ("empty.jsonl", "no text in it"),
        ("blank.jsonl", "no text in it"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_nothing_else(folder, name, message, capfd):
    (folder / "broken.jsonl").write_text('{"text": "a"}\n{"text"')
    (folder / "broken.parquet").write_bytes((folder / "a.parquet").read_bytes()[:-30])
    (folder / "latin.jsonl").write_bytes('{"text": "good"}\n{"text": "caf\xe9"}'.encode("latin-1"))
    (folder / "empty.jsonl").write_text("")
    (folder / "blank.jsonl").write_text('{"text": " "}')
    with pytest.raises(UserError) as error:
        list(open_corpus(f"hf:{folder}/{name}"))
    assert message in str(error.value) and name.split("#")[0].split("@")[0] in str(error.value)
    assert "\n" not in str(error.value) and capfd.readouterr() == ("", "")


@pytest.fixture
def hub(folder, monkeypatch, tmp_path):
    """A hub with the one data set user/wiki; returns what was asked of it."""
    asked, real = [], datasets.load_dataset_builder

    def builder(name, config=None):
        asked.append((name, config))
        if name != "user/wiki":
            raise ConnectionError(f"Couldn't reach '{name}'")
        return real("parquet", data_files=str(folder / "a.parquet"), cache_dir=str(tmp_path))

    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    return asked


@pytest.mark.parametrize("streaming", [False, True])
def test_data_sets_of_the_hub_are_downloaded_or_streamed(hub, tmp_path, streaming):
    corpus = open_corpus("hf:user/wiki,de#body", streaming=streaming)
    assert hub == [("user/wiki", "de")]
    assert corpus.identity["corpus_fingerprint"].startswith("user/wiki@")
    assert list(corpus) == list(corpus) == ["a", "b", "c", "d"]
    assert any(tmp_path.rglob("*.arrow")) is not streaming


def test_without_a_network_the_line_says_how_to_use_local_files(hub):
    with pytest.raises(
        UserError, match=r"the hub cannot be reached .*without a network point at local files: hf:FOLDER"
    ):
        open_corpus("hf:nobody/nothing")


def test_a_field_that_the_hub_s_data_set_lacks_is_named(hub):
    with pytest.raises(UserError, match='no field "title"; the fields are body, n, text'):
        list(open_corpus("hf:user/wiki#title", streaming=True))
