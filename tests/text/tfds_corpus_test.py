"""Data sets prepared here as ArrayRecord, without TensorFlow, and read for real."""

import shutil

import numpy as np
import pytest

from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.utils.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")

TEXTS = [f"Document {i}.\n\n Ä second paragraph. " for i in range(600)] + [""]


class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Six hundred documents and an empty one; one that is not UTF-8 in another split."""

    VERSION = tfds.core.Version("1.2.0")
    url_infos = {}  # noqa: RUF012 (nothing to download, so nothing to look up beside this file)

    def _info(self):
        features = {"text": tfds.features.Text(), "n": tfds.features.Scalar(dtype=np.int64)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        bad = [b"good", b"caf\xe9"]
        return {
            "train": self._generate_examples(TEXTS),
            "bad": self._generate_examples(bad),
            "blank": self._generate_examples([" "]),
        }

    def _generate_examples(self, texts):
        for number, text in enumerate(texts):
            yield number, {"text": text, "n": number}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    Small(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture(autouse=True)
def data_dir(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))


@pytest.mark.parametrize("name", ["small", "small:1.2.0", "small#text", "small:1.2.0@train#text", "{}/small/1.2.0"])
def test_every_document_is_read_in_the_same_order_each_time(folder, name):
    corpus = open_corpus(f"tfds:{name}".format(folder))
    documents = list(corpus)
    assert sorted(documents) == sorted(f"Document {i}.\nÄ second paragraph." for i in range(600))
    assert list(corpus) == documents


def test_a_part_of_a_split_is_its_beginning():
    assert list(open_corpus("tfds:small@train[:10]")) == list(open_corpus("tfds:small"))[:10]


def test_the_fingerprint_follows_the_records_not_the_place(folder, tmp_path):
    first = open_corpus("tfds:small").identity
    copy = shutil.copytree(folder / "small" / "1.2.0", tmp_path / "small" / "1.2.0")
    assert open_corpus(f"tfds:{copy}").identity == first
    assert open_corpus("tfds:small@bad").identity != first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small#title", 'no field "title"; the fields are n, text'),
        ("small#n", 'record 0: "n" is int'),
        ("small@test", "no split 'test' in "),
        ("small@test", "; the splits are train, bad, blank"),
        ("small@bad", '"text" is not UTF-8 text, byte 3 (unexpected end of data)'),
        ("small@blank", "no text in it"),
        (
            "small:9.9.9",
            "no such data set below TFDS_DATA_DIR ({}); it must be prepared there with file_format='array_",
        ),
        ("no_such_set", "no such data set below TFDS_DATA_DIR"),
        ("mnist", "no such data set below TFDS_DATA_DIR"),  # one that the library could make
        ("./gone/small", "no such folder, and no name of a data set either: NAME, NAME/CONFIG, NAME/CONFIG:1.0.0"),
        ("{}", "holds no dataset_info.json; name the folder of one version"),
    ],
)
def test_what_is_not_there_is_one_line(folder, name, message):
    with pytest.raises(UserError) as error:
        list(open_corpus(f"tfds:{name}".format(folder)))
    assert message.replace("{}", str(folder)) in str(error.value) and "\n" not in str(error.value)


def test_damaged_files_are_one_line(folder, tmp_path):
    copy = shutil.copytree(folder / "small" / "1.2.0", tmp_path / "small" / "1.2.0")
    file = next(copy.glob("small-train.array_record*"))
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match="cannot be read") as error:
        list(open_corpus(f"tfds:{copy}"))
    assert "\n" not in str(error.value)


def test_files_of_another_format_say_what_is_needed(folder, tmp_path):
    copy = shutil.copytree(folder / "small" / "1.2.0", tmp_path / "small" / "1.2.0")
    info = copy / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="ArrayRecord files are needed"):
        open_corpus(f"tfds:{copy}")
