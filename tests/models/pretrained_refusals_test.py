"""What is no model folder is refused in one line, and a failed or mistaken save keeps what was there."""

import os

import numpy as np
import pytest

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import random_params
from tests.models.model_folders import CFG, assert_same, edit_config, edit_tensors, saved


def refusal(path, head=None):
    with pytest.raises(UserError) as error:
        from_pretrained(path, head)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_untied_decoder_is_refused(tmp_path):
    saved(tmp_path / "m")
    edit_tensors(tmp_path / "m", lambda t: t.update({"cls.predictions.decoder.weight": np.ones((67, 16), np.float32)}))
    message = "cls.predictions.decoder.weight differs from mobilebert.embeddings.word_embeddings.weight"
    assert message in refusal(tmp_path / "m")


def test_what_is_no_model_folder_is_named(tmp_path):
    assert "not a model folder, config.json and model.safetensors missing" in refusal(tmp_path / "nothing")
    saved(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    message = refusal(tmp_path / "m")
    assert message == f"{tmp_path / 'm'}: not a model folder, model.safetensors missing"


def test_an_unknown_head_is_refused(tmp_path):
    saved(tmp_path / "m", head=None)
    assert "head 'ner': must be one of" in refusal(tmp_path / "m", "ner")


def test_tensors_that_do_not_fit_are_listed_and_counted(tmp_path):
    saved(tmp_path / "m")

    def spoil(tensors):
        for name in list(tensors):
            if ".layer.2." in name:
                del tensors[name]
        tensors["mobilebert.encoder.layer.0.ffn.7.output.dense.bias"] = np.ones(16, np.float32)
        tensors["mobilebert.embeddings.LayerNorm.bias"] = np.ones(31, np.float32)

    edit_tensors(tmp_path / "m", spoil)
    message = refusal(tmp_path / "m", "pretraining")
    assert message.startswith(
        f"{tmp_path / 'm' / 'model.safetensors'}: the tensors do not fit config.json: 40 missing:"
    )
    assert "mobilebert.encoder.layer.2.attention.self.key.bias" in message and "and 36 more" in message
    assert "1 unexpected: mobilebert.encoder.layer.0.ffn.7.output.dense.bias" in message
    assert "1 of the wrong shape: mobilebert.embeddings.LayerNorm.bias (31,) instead of (32,)" in message


def test_a_head_of_the_wrong_shape_is_refused(tmp_path):
    saved(tmp_path / "m", head="classification", num_labels=3)
    edit_config(tmp_path / "m", id2label=None)
    assert "classifier.weight (3, 32) instead of (2, 32)" in refusal(tmp_path / "m", "classification")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "albert"}, "model_type is 'albert', only 'mobilebert' and 'bert' can be loaded"),
        ({"model_type": None}, "model_type is None, only 'mobilebert' and 'bert' can be loaded"),
        ({"hidden_size": "32"}, "hidden_size='32', but int is needed"),
        ({"num_hidden_layers": True}, "num_hidden_layers=True, but int is needed"),
        ({"trigram_input": "false"}, "trigram_input='false', but bool is needed"),
        ({"hidden_act": "silu"}, "hidden_act='silu', must be one of relu, relu6, gelu_new, gelu, gelu_pytorch_tanh"),
        ({"num_attention_heads": 3}, "model.num_attention_heads=3: does not divide the width 16"),
        ({"num_labels": 0}, "num_labels=0, an int of at least 1 is needed"),
    ],
)
def test_a_bad_config_is_refused_with_its_file(tmp_path, changes, message):
    saved(tmp_path / "m", head=None)
    edit_config(tmp_path / "m", **changes)
    assert refusal(tmp_path / "m") == f"{tmp_path / 'm' / 'config.json'}: {message}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json: not JSON"),
        ("config.json", "[]", "config.json: a JSON object is needed"),
        ("model.safetensors", "{}", "model.safetensors: not a readable safetensors file"),
        ("model.safetensors", "", "model.safetensors: not a readable safetensors file"),
    ],
)
def test_broken_files_are_refused(tmp_path, name, content, message):
    saved(tmp_path / "m", head=None)
    (tmp_path / "m" / name).write_text(content)
    assert message in refusal(tmp_path / "m")


def test_parameters_of_another_model_are_not_saved(tmp_path):
    qa = random_params(build_model(CFG, "qa"))
    with pytest.raises(UserError, match="the parameters are not those of MobileBertForPreTraining: masked_lm/"):
        save_pretrained(tmp_path / "m", build_model(CFG, "pretraining"), qa)
    assert list(tmp_path.iterdir()) == []


class Tokenizer:
    """Writes one file, then fails if told to."""

    def __init__(self, error=None):
        self.error = error

    def save(self, folder):
        (folder / "vocab.txt").write_text("[PAD]\n")
        if self.error:
            raise self.error


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_is_replaced_whole(tmp_path):
    model = build_model(CFG, "qa")
    save_pretrained(tmp_path / "m", model, random_params(model, 1), Tokenizer())
    assert sorted(contents(tmp_path / "m")) == ["config.json", "model.safetensors", "vocab.txt"]
    _, params = saved(tmp_path / "m")
    assert sorted(contents(tmp_path / "m")) == ["config.json", "model.safetensors"]
    assert_same(from_pretrained(tmp_path / "m", "pretraining")[1], params)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    saved(tmp_path / "empty")
    saved(tmp_path / "a" / "b" / "m")
    assert contents(tmp_path / "empty") == contents(tmp_path / "a" / "b" / "m")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_keeps_the_old_model_and_leaves_nothing_else(tmp_path, error):
    model, params = saved(tmp_path / "m")
    before = contents(tmp_path / "m")
    with pytest.raises(type(error)):
        save_pretrained(tmp_path / "m", model, random_params(model, 1), Tokenizer(error))
    with pytest.raises(type(error)):
        save_pretrained(tmp_path / "new", model, params, Tokenizer(error))
    assert contents(tmp_path / "m") == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_failed_rename_puts_the_old_model_back(tmp_path, monkeypatch):
    model, _ = saved(tmp_path / "m")
    before, rename = contents(tmp_path / "m"), os.replace

    def fail_on_the_new_one(source, target):
        if os.path.basename(source) == "new":
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail_on_the_new_one)
    with pytest.raises(OSError, match="no"):
        save_pretrained(tmp_path / "m", model, random_params(model, 1))
    assert contents(tmp_path / "m") == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("files", [["config.json"], ["config.json", "model.safetensors", "checkpoints/1"], ["notes"]])
def test_a_folder_that_is_no_plain_model_folder_is_never_replaced(tmp_path, files):
    for name in files:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("precious")
    with pytest.raises(UserError, match="run: exists and is not a plain model folder; give a new path"):
        saved(tmp_path / "run")
    assert all((tmp_path / "run" / name).read_text() == "precious" for name in files)
