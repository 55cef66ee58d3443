"""Rows of several columns, from files and data sets written here and read for real."""

import numpy as np
import pytest

from mobilebert_jax.text.tables import read_data_set, read_jsonl, read_table, read_tsv
from mobilebert_jax.utils.errors import UserError


def test_quotes_and_spaces_are_characters_like_any_other(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes('text\tlabel\n"He said \tx\nno" it\'s\t y \r\n\u2028 and \x85\t\n'.encode())
    records = read_tsv(path)
    values = [tuple(record.values.values()) for record in records]
    assert values == [('"He said ', "x"), ("no\" it's", " y "), ("\u2028 and \x85", "")]
    assert [record.place for record in records] == [f"{path}:{number}" for number in (2, 3, 4)]


def test_a_line_with_other_columns_is_refused_by_file_and_line(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\none\t1\ntwo\nthree\t3\t\n\n")
    with pytest.raises(UserError, match=r"a\.tsv:3: 1 columns, 2 are needed \(text, label\)"):
        read_tsv(path)


def test_such_lines_are_dropped_if_asked_and_counted(tmp_path, caplog):
    path = tmp_path / "a.tsv"
    path.write_text("one\t1\ntwo\n\nthree\t3\n\n")
    assert [record.values["x"] for record in read_tsv(path, ("x", "y"), "drop")] == ["one", "three"]
    assert "2 lines left out, their number of columns is wrong (lines 2, 3)" in caplog.text


def test_an_empty_tsv_has_no_header(tmp_path):
    (tmp_path / "a.tsv").write_text("\n")
    with pytest.raises(UserError, match=r"a\.tsv: empty; its first line must name the columns"):
        read_tsv(tmp_path / "a.tsv")


@pytest.mark.parametrize(("line", "message"), [("{", "not JSON"), ("[1]", "list, an object is needed")])
def test_a_bad_line_of_json_is_refused_by_file_and_line(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_text(f'{{"a": 1}}\n\n{line}\n')
    with pytest.raises(UserError, match=rf"a\.jsonl:3: {message}"):
        read_jsonl(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("name", "message"), [("gone.tsv", "no such file"), ("a.csv", r"must end with \.tsv or \.jsonl")]
)
def test_other_files_are_refused(tmp_path, name, message):
    (tmp_path / "a.csv").write_text("a,b")
    with pytest.raises(UserError, match=message):
        read_table(str(tmp_path / name))


def test_rows_of_a_saved_data_set_have_their_classes_by_name(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    rows = {"text": ["one", "two", "three"], "label": [1, 0, -1]}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    datasets.DatasetDict({"train": made, "validation": made.select([2])}).save_to_disk(tmp_path / "rte")
    for spec, config in ((f"hf:{tmp_path}/rte", ""), (f"hf:{tmp_path}", "rte")):
        assert [record.values["label"] for record in read_data_set(spec, config)] == ["good", "bad", None]
        (only,) = read_data_set(spec, config, "validation")
        assert only.values == {"text": "three", "label": None} and "validation row 0" in only.place
    with pytest.raises(UserError, match="no split 'test'; the splits are train, validation"):
        read_data_set(f"hf:{tmp_path}/rte", split="test")
    made.to_parquet(tmp_path / "a.parquet")
    assert [record.values["text"] for record in read_table(f"hf:{tmp_path}/a.parquet")] == rows["text"]


def test_records_of_tfds_are_read_without_its_code(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Two records."""

        VERSION = tfds.core.Version("1.0.0")
        url_infos = {}  # noqa: RUF012

        def _info(self):
            features = {
                "text": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["bad", "good"]),
                "score": tfds.features.Scalar(dtype=np.float32),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples([1, 0]), "test": self._generate_examples([-1])}

        def _generate_examples(self, labels):
            for number, label in enumerate(labels):
                yield number, {"text": f"Ä {number}", "label": label, "score": 0.5}

    Tiny(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    spec = f"tfds:{tmp_path}/tiny/1.0.0"
    found = sorted((record.values["text"], record.values["label"]) for record in read_data_set(spec))
    assert found == [("Ä 0", "good"), ("Ä 1", "bad")]
    (test,) = read_data_set(spec, split="test")
    assert test.values["label"] is None and test.values["score"] == 0.5
    with pytest.raises(UserError, match="no split 'dev'; the splits are"):
        read_data_set(spec, split="dev")
