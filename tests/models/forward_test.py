"""Every variant and head against the plain numpy float64 version."""

import functools

import jax
import numpy as np
import pytest

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.heads import build_model, gather_positions
from tests.models import reference
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error

TOLERANCE = 1e-5
EVERYTHING = {"output_hidden_states": True, "output_attention_scores": True, "output_attention_probs": True}


@functools.cache
def outputs(variant):
    """The pretraining model's outputs and the reference's."""
    cfg = VARIANTS[variant]
    model = build_model(cfg, "pretraining")
    params, inputs = random_params(model), batch(cfg)
    found = jax.jit(lambda params: model.apply({"params": params}, *inputs, **EVERYTHING))(params)
    return found, reference.encode(cfg, params, *inputs), cfg


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_layers_hidden_state(variant):
    found, expected, cfg = outputs(variant)
    assert found.encoder.hidden_states.shape[0] == cfg.num_hidden_layers + 1
    for layer, hidden in enumerate(expected["hidden_states"]):
        assert relative_error(found.encoder.hidden_states[layer], hidden) < TOLERANCE, layer
    assert relative_error(found.encoder.last_hidden_state, expected["last_hidden_state"]) < TOLERANCE
    assert relative_error(found.encoder.pooler_output, expected["pooler_output"]) < TOLERANCE


@pytest.mark.parametrize("variant", VARIANTS)
def test_attention_scores_and_probabilities(variant):
    found, expected, _ = outputs(variant)
    masked = np.isneginf(expected["attention_scores"])
    scores = np.asarray(found.encoder.attention_scores)
    assert masked.any() and (scores[masked] == np.finfo(np.float32).min).all()
    assert relative_error(scores[~masked], expected["attention_scores"][~masked]) < TOLERANCE
    assert relative_error(found.encoder.attention_probs, expected["attention_probs"]) < TOLERANCE
    assert (np.asarray(found.encoder.attention_probs)[masked] == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_pretraining_heads(variant):
    found, expected, cfg = outputs(variant)
    params = expected["params"]
    logits = reference.masked_lm_logits(cfg, params, expected["last_hidden_state"])
    assert relative_error(found.prediction_logits, logits) < TOLERANCE
    sentence = reference.dense(params, "next_sentence", expected["pooler_output"])
    assert relative_error(found.seq_relationship_logits, sentence) < TOLERANCE


@pytest.mark.parametrize("variant", ["mobilebert", "teacher"])
def test_span_head(variant):
    cfg = VARIANTS[variant]
    model = build_model(cfg, "qa")
    params, inputs = random_params(model), batch(cfg)
    found = jax.jit(lambda params: model.apply({"params": params}, *inputs))(params)
    expected = reference.encode(cfg, params, *inputs)
    spans = reference.dense(expected["params"], "span", expected["last_hidden_state"])
    assert relative_error(found.start_logits, spans[..., 0]) < TOLERANCE
    assert relative_error(found.end_logits, spans[..., 1]) < TOLERANCE


def test_classification_head():
    cfg = VARIANTS["no_trigram"]
    model = build_model(cfg, "classification", num_labels=5)
    params, inputs = random_params(model), batch(cfg)
    found = jax.jit(lambda params: model.apply({"params": params}, *inputs))(params)
    expected = reference.encode(cfg, params, *inputs)
    logits = reference.dense(expected["params"], "classifier", expected["pooler_output"])
    assert found.logits.shape == (3, 5)
    assert relative_error(found.logits, logits) < TOLERANCE


def test_relu6_is_not_relu_on_these_parameters():
    _, relu6, cfg = outputs("qat")
    params = random_params(build_model(cfg, "pretraining"))
    relu = reference.encode(cfg.replace(hidden_act="relu"), params, *batch(cfg))
    assert relative_error(relu6["last_hidden_state"], relu["last_hidden_state"]) > 100 * TOLERANCE


def test_masked_positions_are_gathered_before_the_vocabulary_product():
    cfg = VARIANTS["mobilebert"]
    model = build_model(cfg, "pretraining")
    params, inputs = random_params(model), batch(cfg)
    positions = np.array([[3, 1, 10, 0], [6, 6, 2, 0], [1, 0, 0, 0]], np.int32)

    def logits(params, positions):
        return model.apply({"params": params}, *inputs, positions).prediction_logits

    everywhere = outputs("mobilebert")[0].prediction_logits
    assert relative_error(jax.jit(logits)(params, positions), gather_positions(everywhere, positions)) < TOLERANCE
    of_every_token = f"[3,11,{cfg.vocab_size}]"
    assert of_every_token in str(jax.make_jaxpr(logits)(params, None))
    assert of_every_token not in str(jax.make_jaxpr(logits)(params, positions))


def test_heads_on_a_last_hidden_state_equal_the_whole_model():
    cfg = VARIANTS["no_trigram"]
    model = build_model(cfg, "pretraining")
    whole, _, _ = outputs("no_trigram")
    hidden = whole.encoder.last_hidden_state
    found = jax.jit(lambda params: model.apply({"params": params}, hidden, method="heads_on"))(random_params(model))
    assert relative_error(found.prediction_logits, whole.prediction_logits) < TOLERANCE
    assert relative_error(found.seq_relationship_logits, whole.seq_relationship_logits) < TOLERANCE


def test_the_word_table_learns_from_the_masked_lm_head_too():
    """The logit of a word that no input holds reaches its row of the tied table: the transformed features."""
    cfg = preset("test_student", num_hidden_layers=1)
    model = build_model(cfg, "pretraining")
    params, (input_ids, mask, types) = random_params(model), batch(cfg)
    absent = 0
    input_ids = np.where(input_ids == absent, 1, input_ids)

    def logit_sum(params):
        return model.apply({"params": params}, input_ids, mask, types).prediction_logits[..., absent].sum()

    gradient = jax.jit(jax.grad(logit_sum))(params)["encoder"]["embeddings"]["word_embeddings"]["embedding"]
    expected = reference.encode(cfg, params, input_ids, mask, types)
    own = expected["params"]
    x = reference.activation(cfg, reference.dense(own, "masked_lm/transform", expected["last_hidden_state"]))
    features = reference.layer_norm(own, "masked_lm/norm", x, cfg.layer_norm_eps)[..., : cfg.embedding_size]
    assert relative_error(gradient[absent], features.sum((0, 1))) < TOLERANCE
