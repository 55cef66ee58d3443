"""Model folders: what is written, and what comes back from ours, from transformers' and from another head's."""

import json
import warnings

import jax
import numpy as np
import pytest
import safetensors.numpy

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.utils.trees import named_leaves
from tests.models.model_cases import TINY, VARIANTS
from tests.models.model_folders import CFG, assert_same, edit_config, edit_tensors, saved

HEADS = [None, "pretraining", "masked_lm", "next_sentence", "qa", "classification", "token_classification"]
BLOCK = """attention.output.LayerNorm attention.output.dense
attention.self.key attention.self.query attention.self.value bottleneck.attention.LayerNorm bottleneck.attention.dense
bottleneck.input.LayerNorm bottleneck.input.dense
ffn.0.intermediate.dense ffn.0.output.LayerNorm ffn.0.output.dense ffn.1.intermediate.dense ffn.1.output.LayerNorm
ffn.1.output.dense intermediate.dense output.LayerNorm output.bottleneck.LayerNorm output.bottleneck.dense
output.dense""".split()
"""The modules that transformers 5.23 stores for a block of 3 FFNs, each with a weight and a bias."""


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    ("variant", "head"),
    [
        *((variant, "pretraining") for variant in VARIANTS),
        *(("teacher", head) for head in HEADS if head != "pretraining"),
    ],
)
def test_a_round_trip_is_bit_equal(tmp_path, variant, head):
    model, params = saved(tmp_path / "m", VARIANTS[variant], head)
    loaded, loaded_params = from_pretrained(tmp_path / "m", head)
    assert loaded == model
    assert_same(loaded_params, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded_params)} == {np.dtype("float32")}


def test_the_config_comes_back_exactly_but_for_the_settings_of_a_run(tmp_path):
    odd = {
        "zero_pad_embeddings": True,
        "layer_norm_eps": 3e-7,
        "initializer_range": 0.1 + 0.2,
        "hidden_act": "gelu_erf",
    }
    saved(tmp_path / "m", CFG.replace(**odd, dtype="bfloat16", remat="full"))
    loaded, _ = from_pretrained(tmp_path / "m")
    assert loaded.cfg == CFG.replace(**odd)


def test_the_stored_names_and_layouts_are_transformers(tmp_path):
    _, params = saved(tmp_path / "m")
    tensors = safetensors.numpy.load_file(tmp_path / "m" / "model.safetensors")
    block = {f"{module}.{kind}" for module in BLOCK for kind in ("weight", "bias")}
    for layer in range(CFG.num_hidden_layers):
        prefix = f"mobilebert.encoder.layer.{layer}."
        assert {name.removeprefix(prefix) for name in tensors if name.startswith(prefix)} == block
    assert {name for name in tensors if not name.startswith("mobilebert.encoder.")} == {
        *(f"mobilebert.embeddings.{table}_embeddings.weight" for table in ("word", "position", "token_type")),
        *(f"mobilebert.embeddings.{module}" for module in ("LayerNorm.weight", "LayerNorm.bias")),
        *(f"mobilebert.embeddings.embedding_transformation.{kind}" for kind in ("weight", "bias")),
        *(f"cls.predictions.transform.{name}.{kind}" for name in ("dense", "LayerNorm") for kind in ("weight", "bias")),
        *("cls.predictions.bias", "cls.predictions.dense.weight", "cls.seq_relationship.weight"),
        "cls.seq_relationship.bias",
    }
    layers = params["encoder"]["layers"]
    pairs = {
        "mobilebert.encoder.layer.1.attention.self.value.weight": layers["attention"]["value"]["kernel"][1].T,
        "mobilebert.encoder.layer.2.ffn.1.output.dense.bias": layers["ffn_1"]["output"]["dense"]["bias"][2],
        "mobilebert.encoder.layer.2.intermediate.dense.weight": layers["ffn_2"]["intermediate"]["kernel"][2].T,
        "mobilebert.encoder.layer.0.output.LayerNorm.weight": layers["ffn_2"]["output"]["norm"]["scale"][0],
        "cls.predictions.dense.weight": params["masked_lm"]["extra_embedding"].T,
        "cls.seq_relationship.weight": params["next_sentence"]["kernel"].T,
    }
    for name, expected in pairs.items():
        np.testing.assert_array_equal(tensors[name], expected, err_msg=name)


@pytest.mark.parametrize(
    ("head", "architecture", "prefixes"),
    [
        (None, "MobileBertModel", {"embeddings", "encoder"}),
        ("pretraining", "MobileBertForPreTraining", {"mobilebert", "cls"}),
        ("masked_lm", "MobileBertForMaskedLM", {"mobilebert", "cls"}),
        ("next_sentence", "MobileBertForNextSentencePrediction", {"mobilebert", "cls"}),
        ("token_classification", "MobileBertForTokenClassification", {"mobilebert", "classifier"}),
        ("qa", "MobileBertForQuestionAnswering", {"mobilebert", "qa_outputs"}),
        ("classification", "MobileBertForSequenceClassification", {"mobilebert", "classifier"}),
    ],
)
def test_architectures_and_prefixes(tmp_path, head, architecture, prefixes):
    saved(tmp_path / "m", head=head)
    values = json.loads((tmp_path / "m" / "config.json").read_text())
    assert values["architectures"] == [architecture] and values["model_type"] == "mobilebert"
    assert not {"dtype", "remat"} & set(values)
    tensors = safetensors.numpy.load_file(tmp_path / "m" / "model.safetensors")
    assert {name.split(".")[0] for name in tensors} == prefixes


@pytest.mark.parametrize(
    ("ours", "theirs"), [("relu", "relu"), ("relu6", "relu6"), ("gelu", "gelu_new"), ("gelu_erf", "gelu")]
)
def test_activations_have_their_names_there(tmp_path, ours, theirs):
    saved(tmp_path / "m", CFG.replace(hidden_act=ours), None)
    assert json.loads((tmp_path / "m" / "config.json").read_text())["hidden_act"] == theirs
    assert from_pretrained(tmp_path / "m")[0].cfg.hidden_act == ours


def test_an_imported_config_follows_transformers_defaults(tmp_path):
    saved(tmp_path / "m", CFG.replace(classifier_activation=True, num_feedforward_networks=4))
    absent = "classifier_activation zero_pad_embeddings num_feedforward_networks normalization_type layer_norm_eps"
    edit_config(tmp_path / "m", **dict.fromkeys(absent.split()), dtype="float16", pad_token_id=0, hidden_act="relu")
    cfg = from_pretrained(tmp_path / "m", "pretraining")[0].cfg
    assert cfg == CFG.replace(classifier_activation=True, num_feedforward_networks=4)


def test_old_files_with_tied_copies_and_buffers_load(tmp_path):
    _, params = saved(tmp_path / "m")

    def as_older_versions_wrote(tensors):
        tensors["cls.predictions.decoder.weight"] = tensors["mobilebert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.bias"] = tensors.pop("cls.predictions.bias")
        tensors["mobilebert.embeddings.position_ids"] = np.arange(24)[None]

    edit_tensors(tmp_path / "m", as_older_versions_wrote)
    assert_same(from_pretrained(tmp_path / "m", "pretraining")[1], params)


def test_layers_that_transformers_stores_without_using_are_ignored(tmp_path):
    both = preset("test_student", **{**TINY, "key_query_shared_bottleneck": True})
    _, params = saved(tmp_path / "tiny", both, None)
    unused = {f"encoder.layer.{layer}.bottleneck.attention.dense.bias": np.ones(16, np.float32) for layer in range(3)}
    edit_tensors(tmp_path / "tiny", lambda tensors: tensors.update(unused))
    assert_same(from_pretrained(tmp_path / "tiny")[1], params)

    _, params = saved(tmp_path / "bert", VARIANTS["bert"], None)
    unused = {"embeddings.embedding_transformation.bias": np.ones(32, np.float32)}
    edit_tensors(tmp_path / "bert", lambda tensors: tensors.update(unused))
    theirs = {"intra_bottleneck_size": 128, "key_query_shared_bottleneck": True}
    edit_config(tmp_path / "bert", **theirs)
    loaded, loaded_params = from_pretrained(tmp_path / "bert")
    assert loaded.cfg == VARIANTS["bert"]
    assert_same(loaded_params, params)


def test_half_precision_files_become_float32(tmp_path):
    saved(tmp_path / "m", head=None)
    edit_tensors(tmp_path / "m", lambda tensors: tensors.update({n: t.astype(np.float16) for n, t in tensors.items()}))
    _, params = from_pretrained(tmp_path / "m")
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}


@pytest.mark.parametrize("head", HEADS)
def test_another_heads_folder_gives_its_encoder_and_a_named_fresh_head(tmp_path, head):
    stored = "qa" if head != "qa" else "pretraining"
    _, params = saved(tmp_path / "m", head=stored)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, loaded = from_pretrained(tmp_path / "m", head)
    assert_same(loaded if head is None else loaded["encoder"], params["encoder"])
    fresh = {name: leaf for name, leaf in named_leaves(init_params(model, 0)).items() if "encoder/" not in name}
    if head is None:
        assert not caught
        return
    (warning,) = caught
    assert warning.filename == __file__
    for name, leaf in fresh.items():
        assert name in str(warning.message)
        np.testing.assert_array_equal(named_leaves(loaded)[name], leaf)


def test_a_pooler_that_the_folder_lacks_is_initialised(tmp_path):
    saved(tmp_path / "m", CFG.replace(classifier_activation=True), "qa")
    with pytest.warns(UserWarning, match="lacks pooler/dense/bias, pooler/dense/kernel: initialised"):
        from_pretrained(tmp_path / "m")


@pytest.mark.parametrize("head", ["qa", "masked_lm", "token_classification"])
def test_heads_on_every_token_have_no_pooler_as_in_transformers(tmp_path, head):
    cfg = CFG.replace(classifier_activation=True)
    _, params = saved(tmp_path / "m", cfg, head)
    assert "pooler" not in params["encoder"]
    assert_same(from_pretrained(tmp_path / "m", head)[1], params)
    tensors = safetensors.numpy.load_file(tmp_path / "m" / "model.safetensors")
    assert not [name for name in tensors if "pooler" in name]

    _, whole = saved(tmp_path / "whole", cfg, None)
    with pytest.warns(UserWarning, match="lacks "):
        _, loaded = from_pretrained(tmp_path / "whole", head)
    assert_same(loaded["encoder"], {part: whole[part] for part in ("embeddings", "layers")})


def test_the_number_of_classes_is_the_folders(tmp_path):
    model, params = saved(tmp_path / "m", head="classification", num_labels=5)
    assert json.loads((tmp_path / "m" / "config.json").read_text())["id2label"]["4"] == "LABEL_4"
    loaded, loaded_params = from_pretrained(tmp_path / "m", "classification")
    assert loaded.num_labels == 5
    assert_same(loaded_params, params)
    edit_config(tmp_path / "m", id2label=None, num_labels=5)
    assert from_pretrained(tmp_path / "m", "classification")[0] == model
