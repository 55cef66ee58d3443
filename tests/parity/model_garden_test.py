"""Against TF Model Garden's MobileBERTEncoder: teacher and student at full size, every output in float32.

In an environment of its own, with Keras 2 (`TF_USE_LEGACY_KERAS=1`):

    pip install tensorflow-cpu~=2.20.0 tf-keras~=2.20.0 gin-config six psutil pyyaml scipy tensorflow-hub
    pip install --no-deps tf-models-official
    TF_USE_LEGACY_KERAS=1 python -m pytest -s tests/parity/model_garden_test.py
"""

import os
import re

import jax
import numpy as np
import pytest

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.state_dict import StateDict, from_state_dict, to_state_dict
from mobilebert_jax.models.tensor_files import TensorHeader
from mobilebert_jax.utils.trees import named_leaves
from tests.models.tame_weights import batch, tame_state_dict

if os.environ.get("TF_USE_LEGACY_KERAS") != "1":
    pytest.skip("Model Garden needs TF_USE_LEGACY_KERAS=1", allow_module_level=True)
garden = pytest.importorskip("official.nlp.modeling.networks.mobile_bert_encoder")

TOLERANCE = 1e-5
LENGTH = 32
SCOPES = {
    "embeddings/word_embeddings/embedding": "mobile_bert_embedding/word_embedding/embeddings",
    "embeddings/token_type_embeddings/embedding": "mobile_bert_embedding/type_embedding/embeddings",
    "embeddings/position_embeddings/embedding": "mobile_bert_embedding/position_embedding/embeddings",
    "embeddings/embedding_transformation": "mobile_bert_embedding/embedding_projection",
    "embeddings/norm": "mobile_bert_embedding/embedding_norm",
}
IN_A_BLOCK = (
    ("bottleneck_attention/", "kq_shared_bottleneck/"),
    ("attention_output/dense", "attention/attention_output"),
    ("attention_output/norm", "attention/norm"),
    ("ffn_", "ffn_layer_"),
    ("/intermediate/", "/intermediate_dense/"),
    ("/output/dense", "/output_dense"),
    ("/output/norm", "/norm"),
)


def tame_params(model):
    """Parameters drawn under transformers' names."""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), abstract_params(model))
    shapes = {f"mobilebert.{name}": tensor.shape for name, tensor in to_state_dict(model, zeros).items()}
    # Normalised states make sharper attention: at 1.8, rounding in the teacher (1024 wide) grows to 1.5e-5.
    state = tame_state_dict(shapes, sharpness=1.8 if model.cfg.normalization_type == "no_norm" else 1.2)
    headers = {name: TensorHeader(tensor.shape, "float32") for name, tensor in state.items()}
    return from_state_dict(model, StateDict("mobilebert", headers, state.__getitem__, "drawn"))[0]


def garden_name(name):
    """'layers/attention/query/kernel' as '{layer}/attention/query/kernel', others whole."""
    name = name.replace("/scale", "/gamma")
    name = name.removesuffix("/bias") + "/beta" if name.endswith("norm/bias") else name
    for ours, theirs in SCOPES.items():
        name = theirs + name.removeprefix(ours) if name.startswith(ours) else name
    if not name.startswith("layers/"):
        return name
    name = name.removeprefix("layers/")
    for ours, theirs in IN_A_BLOCK:
        name = name.replace(ours, theirs, 1)
    return "transformer_layer_{layer}/" + name


def garden_model(cfg, params):
    """Its encoder with our parameters."""
    model = garden.MobileBERTEncoder(
        word_vocab_size=cfg.vocab_size,
        word_embed_size=cfg.embedding_size,
        type_vocab_size=cfg.type_vocab_size,
        max_sequence_length=cfg.max_position_embeddings,
        num_blocks=cfg.num_hidden_layers,
        hidden_size=cfg.hidden_size,
        num_attention_heads=cfg.num_attention_heads,
        intermediate_size=cfg.intermediate_size,
        intermediate_act_fn={"gelu_erf": "gelu"}.get(cfg.hidden_act, cfg.hidden_act),
        intra_bottleneck_size=cfg.intra_bottleneck_size,
        use_bottleneck_attention=cfg.use_bottleneck_attention,
        key_query_shared_bottleneck=cfg.key_query_shared_bottleneck,
        num_feedforward_networks=cfg.num_feedforward_networks,
        normalization_type=cfg.normalization_type,
    )
    values = {}
    for name, leaf in named_leaves(params).items():
        for layer, value in enumerate(np.asarray(leaf) if name.startswith("layers/") else [np.asarray(leaf)]):
            values[garden_name(name).format(layer=layer)] = value
    for weight in model.weights:
        name = re.sub(r"^mobile_bert_embedding_\d+", "mobile_bert_embedding", weight.name.removesuffix(":0"))
        weight.assign(values.pop(name).reshape(weight.shape))
    assert not values, sorted(values)[:5]
    return model


def error_of(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", ["mobilebert", "mobilebert_tiny", "mobilebert_no_opt", "ib_bert_large"])
def test_every_hidden_state_and_attention_map(name, padded):
    # Keras' gelu is the erf form, and its teacher has no pooler.
    changes = {"classifier_activation": False}
    cfg = preset(name, **changes, **({"hidden_act": "gelu_erf"} if preset(name).hidden_act == "gelu" else {}))
    model = build_model(cfg)
    params = tame_params(model)
    ids, mask, types = batch(cfg.vocab_size, LENGTH, padded)
    theirs = garden_model(cfg, params)({"input_word_ids": ids, "input_mask": mask, "input_type_ids": types})
    flags = {"output_hidden_states": True, "output_attention_probs": True}
    out = jax.jit(lambda params: model.apply({"params": params}, ids, mask, types, **flags))(params)
    errors = {"pooled": error_of(out.pooler_output, theirs["pooled_output"])}
    for what, found, expected in (
        ("hidden", out.hidden_states, theirs["encoder_outputs"]),
        ("attention", out.attention_probs, theirs["attention_scores"]),
    ):
        errors |= {f"{what} {i}": error_of(*two) for i, two in enumerate(zip(found, expected, strict=True))}
    worst = max(errors, key=errors.get)
    sharp = np.asarray(out.attention_probs).max(-1).mean() * LENGTH
    print(f"{name} {padded=}: {len(errors)} tensors, largest {errors[worst]:.1e} ({worst}), attention {sharp:.1f}")
    assert max(errors.values()) < TOLERANCE, errors
