"""A .tflite says what it is in the standard words, carries its vocabulary and labels, and runs as before."""

import io
import zipfile

import flatbuffers
import numpy as np
import pytest

from mobilebert_jax.export.formats import PRECISIONS, export_model
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from tests.models.model_cases import VARIANTS, random_params

pytest.importorskip("litert_converter")
LABELS = ("bad", "so so", "good")


class Table:
    """A FlatBuffer's table, read by places of the public schema alone."""

    def __init__(self, data, at):
        self.table = flatbuffers.table.Table(data, at)

    @classmethod
    def root(cls, data):
        return cls(data, flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0))

    def _at(self, place):
        return self.table.Offset(4 + 2 * place)

    def text(self, place):
        return self.table.String(self.table.Pos + self._at(place)).decode() if self._at(place) else ""

    def number(self, place):
        flags = flatbuffers.number_types.Int8Flags
        return self.table.Get(flags, self.table.Pos + self._at(place)) if self._at(place) else 0

    def one(self, place):
        return Table(self.table.Bytes, self.table.Indirect(self.table.Pos + self._at(place)))

    def many(self, place):
        if not self._at(place):
            return []
        start = self.table.Vector(self._at(place))
        count = self.table.VectorLen(self._at(place))
        return [Table(self.table.Bytes, self.table.Indirect(start + 4 * index)) for index in range(count)]


def metadata_of(content):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    entries = {model.Metadata(each).Name(): model.Metadata(each).Buffer() for each in range(model.MetadataLength())}
    data = model.Buffers(entries[b"TFLITE_METADATA"]).DataAsNumpy().tobytes()
    assert data[4:8] == b"M001"
    return Table.root(data)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The model folder and the exported one of a head."""
    made, folder = {}, tmp_path_factory.mktemp("models")

    def export(head, precisions=("float32",), lowercase=True, **options):
        if (head, lowercase) not in made:
            tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog"], 60, lowercase)
            cfg = VARIANTS["mobilebert"].replace(vocab_size=tokenizer.vocab_size)
            model, place = build_model(cfg, head, **options), folder / f"{head}{lowercase}"
            save_pretrained(place, model, random_params(model), tokenizer)
            export_model(place, place / "litert", "litert", lengths=(12,), precisions=precisions)
            made[head, lowercase] = place, place / "litert"
        return made[head, lowercase]

    return export


@pytest.mark.parametrize("name", ["model-12.tflite", "model-12-int8.tflite"])
def test_a_question_answerer_brings_all_that_task_libraries_ask_for(name, exported):
    source, folder = exported("qa", PRECISIONS)
    content = (folder / name).read_bytes()
    root = metadata_of(content)
    assert root.text(0) == "MobileBertForQuestionAnswering" and "answer to a question" in root.text(1)
    assert len(root.text(2)) == 12 and root.text(4) == "" and root.text(5) == "Apache-2.0" and root.text(7) == "1.1.0"
    (graph,) = root.many(3)
    assert [tensor.text(0) for tensor in graph.many(2)] == ["ids", "mask", "segment_ids"]
    assert [tensor.text(0) for tensor in graph.many(3)] == ["end_logits", "start_logits"]
    assert all(tensor.text(1) and tensor.one(3).number(0) == 1 for tensor in graph.many(2) + graph.many(3))
    (unit,) = graph.many(5)
    assert unit.number(0) == 4  # BertTokenizerOptions
    (words,) = unit.one(1).many(0)
    assert words.text(0) == "vocab.txt" and words.number(2) == 5  # VOCABULARY
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["vocab.txt"]
        assert archive.read("vocab.txt") == (source / "vocab.txt").read_bytes()
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED


def test_8_bits_are_refused_by_runtimes_that_know_one_scale_a_kernel(exported):
    from ai_edge_litert import schema_py_generated as schema

    for name, version in (("model-12.tflite", 5), ("model-12-int8.tflite", 12)):
        model = schema.Model.GetRootAs((exported("qa", PRECISIONS)[1] / name).read_bytes())
        codes = [model.OperatorCodes(each) for each in range(model.OperatorCodesLength())]
        product = schema.BuiltinOperator.FULLY_CONNECTED
        assert [code.Version() for code in codes if code.BuiltinCode() == product] == [version]


def test_a_classifier_gives_probabilities_by_its_labels(exported):
    from mobilebert_jax.export.litert import Runner

    source, folder = exported("classification", num_labels=3, label_names=LABELS)
    content = (folder / "model-12.tflite").read_bytes()
    (output,) = metadata_of(content).many(3)[0].many(3)
    assert output.text(0) == "probability"
    (labels,) = output.many(6)
    assert labels.text(0) == "labels.txt" and labels.number(2) == 2  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("labels.txt").decode().split("\n") == [*LABELS, ""]
    model, params = from_pretrained(source, "classification")
    inputs = np.arange(12, dtype=np.int32)[None], np.ones((1, 12), np.int32), np.zeros((1, 12), np.int32)
    found, logits = Runner(content)(*inputs), np.asarray(model.apply({"params": params}, *inputs).logits)
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(found["probability"], expected, rtol=1e-4)
    np.testing.assert_allclose(found["logits"], np.log(expected), rtol=1e-5, atol=1e-5)


def test_a_cased_vocabulary_is_left_out(exported):
    """Task libraries would lowercase the text, and answer wrongly without a word."""
    _, folder = exported("qa", lowercase=False)
    content = (folder / "model-12.tflite").read_bytes()
    assert metadata_of(content).many(3)[0].many(5) == []
    assert not zipfile.is_zipfile(io.BytesIO(content))


def test_equal_models_give_equal_files(exported, tmp_path):
    source, folder = exported("qa", PRECISIONS)
    export_model(source, tmp_path / "again", "litert", lengths=(12,))
    for name in ("model-12.tflite", "model-12-int8.tflite"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_buffers_behind_the_flatbuffer_are_taken_in_and_aligned():
    """As the quantizer writes large ones: readers of a few years ago look for none there."""
    from ai_edge_litert import schema_py_generated as schema

    from mobilebert_jax.export.tflite_file import with_buffer

    builder = flatbuffers.Builder(0)
    model = schema.ModelT(version=3, buffers=[schema.BufferT(offset=1 << 40, size=5), schema.BufferT(data=[7, 8])])
    builder.Finish(model.Pack(builder), b"TFL3")
    whole = bytes(builder.Output())
    place = whole.index((1 << 40).to_bytes(8, "little"))
    whole = whole[:place] + len(whole).to_bytes(8, "little") + whole[place + 8 :] + b"large"
    made = with_buffer(whole, "NAME", b"content")
    assert not any(made.index(part) % 16 for part in (whole[:-5], b"large", b"content"))
    found = schema.ModelT.InitFromPackedBuf(made, 0)
    assert [bytes(each.data) for each in found.buffers] == [b"large", b"\7\x08", b"content"]
    assert found.version == 3 and not found.buffers[0].offset
    assert [(each.name, each.buffer) for each in found.metadata] == [(b"NAME", 2)]
