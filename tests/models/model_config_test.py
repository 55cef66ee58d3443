"""`ModelConfig`: what it refuses and why, and the presets' published sizes."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.models.config import ACTIVATIONS, NORMS, POSITIVE, PRESETS, ModelConfig, preset
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params, encoder_parameter_count
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import count_parameters

BAD = [
    ({"hidden_dropout_prob": 1.0}, "model.hidden_dropout_prob=1.0: a probability in [0, 1) is needed"),
    ({"attention_probs_dropout_prob": -0.1}, "model.attention_probs_dropout_prob=-0.1: a probability in [0, 1)"),
    ({"normalization_type": "rms"}, "model.normalization_type='rms': must be one of no_norm, layer_norm"),
    ({"hidden_act": "swish"}, "model.hidden_act='swish': must be one of relu, relu6, gelu, gelu_erf"),
    ({"remat": "some"}, "model.remat='some': must be one of none, full, dots, named"),
    ({"dtype": "float64"}, "model.dtype='float64': must be one of float32, bfloat16"),
    ({"dtype": "float16"}, "model.dtype=float16: activations of NoNorm models reach 1e7 and overflow it; use bfloat16"),
    ({"num_attention_heads": 5}, "model.num_attention_heads=5: does not divide the width 128"),
    ({"embedding_size": 600}, "model.embedding_size=600: must not exceed hidden_size=512"),
    (
        {"use_bottleneck": False, "key_query_shared_bottleneck": False},
        "model.intra_bottleneck_size=128: without use_bottleneck it must equal hidden_size=512",
    ),
    (
        {"use_bottleneck": False, "intra_bottleneck_size": 512},
        "model.key_query_shared_bottleneck=True: needs use_bottleneck=True",
    ),
    (
        {"use_bottleneck": False, "intra_bottleneck_size": 512, "use_bottleneck_attention": True},
        "model.use_bottleneck_attention=True: needs use_bottleneck=True",
    ),
    *(({name: 0}, f"model.{name}=0: must be at least 1") for name in POSITIVE),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_value_is_named_with_what_would_be_right(changes, message):
    with pytest.raises(UserError) as error:
        ModelConfig(**changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_replace_checks_too():
    with pytest.raises(UserError, match="num_attention_heads=3"):
        ModelConfig.mobilebert().replace(num_attention_heads=3)


def test_from_dict_refuses_unknown_fields():
    with pytest.raises(UserError, match=r"model\.layers: no such field; the fields are .*num_hidden_layers"):
        ModelConfig.from_dict({"layers": 3})


def test_an_unknown_preset_is_refused():
    with pytest.raises(UserError, match="model preset 'mobile': must be one of mobilebert, mobilebert_tiny"):
        preset("mobile")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_a_dict_and_take_changes(name):
    cfg = preset(name)
    assert ModelConfig.from_dict(cfg.to_dict()) == cfg
    assert preset(name, attention_probs_dropout_prob=0.25).attention_probs_dropout_prob == 0.25


@settings(max_examples=50, deadline=None)
@given(
    heads=st.integers(1, 4),
    head_size=st.integers(1, 8),
    norm=st.sampled_from(NORMS),
    act=st.sampled_from(ACTIVATIONS),
    flags=st.fixed_dictionaries({name: st.booleans() for name in ("trigram_input", "classifier_activation")}),
    dropout=st.floats(0, 1, exclude_max=True),
)
def test_valid_configs_survive_a_dict(heads, head_size, norm, act, flags, dropout):
    cfg = ModelConfig(
        num_attention_heads=heads,
        intra_bottleneck_size=heads * head_size,
        normalization_type=norm,
        hidden_act=act,
        hidden_dropout_prob=dropout,
        **flags,
    )
    assert cfg.head_size == head_size
    assert ModelConfig.from_dict(cfg.to_dict()) == cfg


def test_configs_are_frozen_and_hashable():
    cfg = ModelConfig.mobilebert()
    assert len({cfg, ModelConfig.mobilebert(), ModelConfig.mobilebert_tiny()}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.hidden_size = 3


def test_bottleneck_attention_wins_over_the_shared_bottleneck():
    assert ModelConfig().shared_query_key
    assert not ModelConfig(use_bottleneck_attention=True).shared_query_key


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mobilebert", 24_581_888),
        ("mobilebert_no_opt", 24_581_888),
        ("mobilebert_qat", 24_581_888),
        ("mobilebert_tiny", 15_485_696),
        ("mobilebert_multilingual", 35_977_088),
        ("ib_bert_large", 294_205_184),
    ],
)
def test_encoder_parameter_counts(name, count):
    assert encoder_parameter_count(MobileBert(preset(name))) == count


@pytest.mark.parametrize(
    ("name", "head", "count"),
    [
        ("mobilebert", "pretraining", 36_597_564),
        ("mobilebert", "qa", 24_582_914),
        ("ib_bert_large", None, 294_467_840),
        ("bert_base", None, 109_482_240),
        ("bert_large", None, 335_141_888),
    ],
)
def test_whole_models_parameter_counts(name, head, count):
    assert count_parameters(abstract_params(build_model(preset(name), head))) == count
