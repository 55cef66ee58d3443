"""Weights in one file or in parts, and everything that may be wrong with them, each in one line."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.models.tensor_files import open_tensors, tensor_headers, weight_files, weights_sha256
from mobilebert_jax.utils.errors import UserError
from tests.models.model_folders import assert_same, edit_tensors, saved

WORDS = "mobilebert.embeddings.word_embeddings.weight"


def split(folder, parts=3):
    """Turns model.safetensors into parts with an index, as transformers writes large models."""
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for part in range(parts):
        file = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        own = {name: tensors[name] for name in sorted(tensors)[part::parts]}
        safetensors.numpy.save_file(own, folder / file)
        weight_map |= dict.fromkeys(own, file)
    write_index(folder, weight_map)
    return weight_map


def write_index(folder, weight_map):
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def refusal(folder):
    with pytest.raises(UserError) as error:
        from_pretrained(folder, "pretraining")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_in_parts_are_one_model(tmp_path):
    _, params = saved(tmp_path / "m")
    whole = tensor_headers(tmp_path / "m")
    split(tmp_path / "m")
    assert tensor_headers(tmp_path / "m") == whole and len(weight_files(tmp_path / "m")) == 3
    assert_same(from_pretrained(tmp_path / "m", "pretraining")[1], params)


def test_a_fingerprint_covers_every_part(tmp_path):
    saved(tmp_path / "m")
    split(tmp_path / "m")
    before = weights_sha256(tmp_path / "m")
    assert weights_sha256(tmp_path / "m") == before
    part = weight_files(tmp_path / "m")[-1]
    tensors = safetensors.numpy.load_file(part)
    next(iter(tensors.values()))[...] += 1
    safetensors.numpy.save_file(tensors, part)
    assert weights_sha256(tmp_path / "m") != before


def test_a_part_that_is_gone_is_named(tmp_path):
    saved(tmp_path / "m")
    split(tmp_path / "m")
    gone = "model-00002-of-00003.safetensors"
    (tmp_path / "m" / gone).unlink()
    assert f"index.json: names the file '{gone}', which is not there" in refusal(tmp_path / "m")


def test_an_index_that_lies_is_refused(tmp_path):
    saved(tmp_path / "m")
    weight_map = split(tmp_path / "m")
    write_index(tmp_path / "m", {**weight_map, "ghost": weight_map[WORDS]})
    assert "index and files do not hold the same tensors: ghost" in refusal(tmp_path / "m")
    write_index(tmp_path / "m", {WORDS: "../elsewhere.safetensors"})
    assert "the parts must lie beside the index" in refusal(tmp_path / "m")
    write_index(tmp_path / "m", {})
    assert "names no tensors" in refusal(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors.index.json").write_text("[1]")
    assert "an index of weights is needed" in refusal(tmp_path / "m")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_a_pickle_is_not_opened_and_the_way_out_is_told(tmp_path, name):
    saved(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / name)
    message = refusal(tmp_path / "m")
    assert message.startswith(f"{tmp_path / 'm' / name}: a pickle can run any code")
    assert "save_pretrained(new_folder)" in message


def test_a_truncated_file_is_refused(tmp_path):
    saved(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors: not a readable safetensors file" in refusal(tmp_path / "m")


@pytest.mark.parametrize("dtype", [np.int32, np.float64, np.uint8])
def test_tensors_that_float32_does_not_hold_are_listed(tmp_path, dtype):
    saved(tmp_path / "m")
    edit_tensors(tmp_path / "m", lambda tensors: tensors.update({WORDS: tensors[WORDS].astype(dtype)}))
    assert f"1 of a dtype other than float32, bfloat16, float16: {WORDS} {np.dtype(dtype)}" in refusal(tmp_path / "m")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_listed(tmp_path, value):
    saved(tmp_path / "m")

    def spoil(tensors):
        tensors["mobilebert.encoder.layer.1.attention.self.key.weight"][3, 5] = value
        tensors["cls.predictions.bias"][0] = value

    edit_tensors(tmp_path / "m", spoil)
    message = refusal(tmp_path / "m")
    assert "2 with values that are not finite" in message
    assert "mobilebert.encoder.layer.1.attention.self.key.weight" in message and "cls.predictions.bias" in message


def test_bfloat16_is_widened_exactly(tmp_path):
    _, params = saved(tmp_path / "m", head=None)
    edit_tensors(
        tmp_path / "m", lambda tensors: tensors.update({n: t.astype(ml_dtypes.bfloat16) for n, t in tensors.items()})
    )
    table = from_pretrained(tmp_path / "m")[1]["embeddings"]["word_embeddings"]["embedding"]
    expected = np.asarray(params["embeddings"]["word_embeddings"]["embedding"]).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(table, expected.astype(np.float32))
    with open_tensors(tmp_path / "m") as tensors:
        assert tensors.headers["embeddings.LayerNorm.weight"].dtype == "bfloat16"
