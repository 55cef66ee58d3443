"""Plain BERT folders: read with BERT's own defaults, written as BERT again, with the names of the first files too."""

import json

import jax
import numpy as np
import pytest

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.training.walks import Pair, default_layer_map
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import PLAIN, random_params
from tests.models.model_folders import assert_same, edit_config, edit_tensors, saved

BERT = preset("bert_base", **PLAIN)
IMPLIED = {"embedding_size", "intra_bottleneck_size", "trigram_input", "use_bottleneck", "normalization_type"}


@pytest.mark.parametrize("head", [None, "pretraining", "qa"])
def test_a_plain_bert_is_stored_as_bert_and_comes_back(tmp_path, head):
    model, params = saved(tmp_path / "m", BERT, head)
    values = json.loads((tmp_path / "m" / "config.json").read_text())
    assert values["model_type"] == "bert" and not IMPLIED & values.keys()
    assert values["architectures"] == [
        {None: "BertModel", "pretraining": "BertForPreTraining", "qa": "BertForQuestionAnswering"}[head]
    ]
    loaded, loaded_params = from_pretrained(tmp_path / "m", head)
    assert loaded == model
    assert_same(loaded_params, params)


@pytest.mark.parametrize("change", [{"num_feedforward_networks": 2}, {"trigram_input": True}, {"torch_norm_eps": True}])
def test_what_bert_cannot_say_stays_mobilebert(tmp_path, change):
    model, params = saved(tmp_path / "m", BERT.replace(**change), None)
    assert json.loads((tmp_path / "m" / "config.json").read_text())["model_type"] == "mobilebert"
    loaded, loaded_params = from_pretrained(tmp_path / "m")
    assert loaded == model
    assert_same(loaded_params, params)


def test_berts_defaults_and_its_erf_gelu(tmp_path):
    saved(tmp_path / "m", preset("bert_base", **PLAIN, hidden_act="gelu_erf"), None)
    edit_config(tmp_path / "m", hidden_act=None, hidden_dropout_prob=None, torch_norm_eps=None)
    cfg = from_pretrained(tmp_path / "m")[0].cfg
    assert cfg == BERT.replace(hidden_act="gelu_erf")


def test_names_of_the_first_files_are_understood(tmp_path):
    _, params = saved(tmp_path / "m", BERT)

    def as_the_first_files(tensors):
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[old] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = np.arange(24)[None]
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]

    edit_tensors(tmp_path / "m", as_the_first_files)
    assert_same(from_pretrained(tmp_path / "m", "pretraining")[1], params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key', only 'absolute'"),
        ({"is_decoder": True}, "is_decoder=True, only encoders can be loaded"),
    ],
)
def test_other_kinds_of_bert_are_refused(tmp_path, changes, message):
    saved(tmp_path / "m", BERT, None)
    edit_config(tmp_path / "m", **changes)
    with pytest.raises(UserError, match=message):
        from_pretrained(tmp_path / "m")


def test_a_bert_is_a_teacher_of_equal_width_and_heads_only(tmp_path):
    saved(tmp_path / "m", BERT.replace(vocab_size=67))
    teacher = from_pretrained(tmp_path / "m", "pretraining")[0].cfg
    student = preset("test_student", num_hidden_layers=2)
    assert Pair(teacher, student, default_layer_map(teacher, student)).teacher is teacher
    with pytest.raises(UserError, match=r"student\.hidden_size=32: must equal the teacher's 768"):
        Pair(preset("bert_base", vocab_size=67), student, (5, 11))
    with pytest.raises(UserError, match=r"student\.num_attention_heads=4: must equal the teacher's 2"):
        Pair(teacher.replace(num_attention_heads=2), student, (0, 1))


@pytest.mark.parametrize(("norm", "moves"), [("no_norm", False), ("layer_norm", True)])
def test_another_epsilon_in_the_two_norms_changes_only_layer_norm_models(norm, moves):
    cfg = preset("test_student", normalization_type=norm)
    params = random_params(build_model(cfg))

    def last_hidden(cfg):
        model = build_model(cfg)
        return jax.jit(lambda params: model.apply({"params": params}, np.array([[5, 6, 7]])).last_hidden_state)(params)

    assert np.any(last_hidden(cfg) != last_hidden(cfg.replace(torch_norm_eps=True))) == moves
