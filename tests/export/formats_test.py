"""Every runtime gives the model's numbers, and what does not is not written."""

import json

import jax
import numpy as np
import pytest

from mobilebert_jax.export import formats, litert
from mobilebert_jax.export.checks import sample_inputs
from mobilebert_jax.export.formats import export_model
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import VARIANTS, random_params

RUNTIMES = {"onnx": "jax2onnx", "litert": "litert_converter", "stablehlo": "jax"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = build_model(VARIANTS["mobilebert"], "qa")
    save_pretrained(folder / "qa", model, random_params(model))
    return folder / "qa"


@pytest.mark.parametrize("format", RUNTIMES)
def test_each_runtime_gives_the_model_s_numbers(format, folder, tmp_path):
    pytest.importorskip(RUNTIMES[format])
    report = export_model(folder, tmp_path / "out", format, lengths=() if format == "onnx" else (9, 16))
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == report
    for name, file in report["files"].items():
        assert (tmp_path / "out" / name).stat().st_size == file["bytes"] > 0
        exact = "int8" not in name and "quantized" not in name
        assert (0 <= file["error"] < 1e-5) if exact else (1e-4 < file["error"] < 0.3)
    names = {
        "onnx": {"onnx/model.onnx", "onnx/model_quantized.onnx"},
        "litert": {"model-9.tflite", "model-9-int8.tflite", "model-16.tflite", "model-16-int8.tflite"},
        "stablehlo": {"model-9.stablehlo", "model-16.stablehlo"},
    }
    assert report["files"].keys() == names[format]
    export_model(folder, tmp_path / "out", format, lengths=(9,), precisions=("float32",))  # replaces it


def test_tensorflow_converts_where_litert_s_own_converter_is_missing(folder, tmp_path, monkeypatch):
    for library in ("tensorflow", "ai_edge_quantizer"):
        pytest.importorskip(library)
    there = litert.find_spec
    monkeypatch.setattr(litert, "find_spec", lambda name: None if name == "litert_converter" else there(name))
    report = export_model(folder, tmp_path / "out", "litert", lengths=(9,))
    assert report["files"].keys() == {"model-9.tflite", "model-9-int8.tflite"}
    assert 0 <= report["files"]["model-9.tflite"]["error"] < 1e-5
    assert 1e-4 < report["files"]["model-9-int8.tflite"]["error"] < 0.3
    assert report["files"]["model-9-int8.tflite"]["bytes"] < 0.6 * report["files"]["model-9.tflite"]["bytes"]


def test_a_file_that_differs_is_not_written(folder, tmp_path, monkeypatch):
    form = formats.inference_form

    def wrong(model, params):
        made = form(model, params)
        return made.replace(blocks=made.blocks[:-1])

    monkeypatch.setattr(formats, "inference_form", wrong)
    with pytest.raises(UserError, match=r"model-9\.stablehlo was not written: its outputs are off by \d"):
        export_model(folder, tmp_path / "out", "stablehlo", lengths=(9,))
    assert not any(tmp_path.iterdir())


def test_what_is_no_export_is_not_replaced(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="exists and is no exported folder"):
        export_model(folder, tmp_path, "stablehlo")
    with pytest.raises(UserError, match="--lengths=25: the model takes 2 to 24 tokens"):
        export_model(folder, tmp_path / "out", "stablehlo", lengths=(25,))


def test_samples_have_padding_and_two_segments():
    for ids, mask, types in sample_inputs(67, [(1, 2), (3, 2), (2, 12), (1, 24)]):
        assert ids.shape == mask.shape == types.shape and mask.sum(1).min() >= 2
        assert (np.diff(mask, axis=1) <= 0).all() and not (ids[mask == 0]).any()
    assert mask.sum() < 24 and set(types[mask > 0]) == {0, 1}
    assert jax.dtypes.issubdtype(ids.dtype, np.int32)
