"""What comes out: only what was asked for, float32, finite, and refused when too long."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error

CFG = VARIANTS["mobilebert"]
EVERYTHING = ("output_hidden_states", "output_attention_scores", "output_attention_probs")
FIELDS = {
    "output_hidden_states": "hidden_states",
    "output_attention_scores": "attention_scores",
    "output_attention_probs": "attention_probs",
}


def shapes(cfg, head=None, **flags):
    model = build_model(cfg, head)
    return jax.eval_shape(lambda: model.apply({"params": random_params(model)}, *batch(cfg), **flags))


@pytest.mark.parametrize("asked", [None, *EVERYTHING])
def test_hidden_states_scores_and_probabilities_are_none_unless_asked_for(asked):
    out = shapes(CFG, **({asked: True} if asked else {}))
    for flag, field in FIELDS.items():
        assert (getattr(out, field) is not None) == (flag == asked)


def test_output_shapes():
    layers, heads, width = CFG.num_hidden_layers, CFG.num_attention_heads, CFG.hidden_size
    out = shapes(CFG, "pretraining", **dict.fromkeys(EVERYTHING, True))
    assert out.encoder.hidden_states.shape == (layers + 1, 3, 11, width)
    assert out.encoder.attention_scores.shape == out.encoder.attention_probs.shape == (layers, 3, heads, 11, 11)
    assert out.encoder.pooler_output.shape == (3, width)
    assert out.prediction_logits.shape == (3, 11, CFG.vocab_size)
    assert out.seq_relationship_logits.shape == (3, 2)
    span = shapes(CFG, "qa")
    assert span.start_logits.shape == span.end_logits.shape == (3, 11)


def test_too_long_sequences_are_refused():
    ids = np.zeros((1, CFG.max_position_embeddings + 1), np.int32)
    message = "input_ids has 25 tokens: the model has max_position_embeddings=24"
    with pytest.raises(UserError, match=message):
        MobileBert(CFG).apply({"params": random_params(MobileBert(CFG))}, ids)


def test_the_longest_sequence_is_accepted():
    ids = jnp.zeros((1, CFG.max_position_embeddings), jnp.int32)
    model = MobileBert(CFG)
    out = jax.eval_shape(lambda: model.apply({"params": random_params(model)}, ids))
    assert out.last_hidden_state.shape == (1, CFG.max_position_embeddings, CFG.hidden_size)


def test_a_missing_mask_is_all_ones_and_missing_types_are_zeros():
    model = MobileBert(CFG)
    params, (ids, _, _) = random_params(model), batch(CFG)
    apply = jax.jit(lambda *inputs: model.apply({"params": params}, *inputs).last_hidden_state)
    np.testing.assert_array_equal(apply(ids), apply(ids, np.ones_like(ids), np.zeros_like(ids)))


def test_a_mask_of_queries_and_keys_acts_query_by_query():
    """Under a causal mask the first tokens do not depend on the last; under a full one they do."""
    cfg = CFG.replace(trigram_input=False)
    model = MobileBert(cfg)
    params, (ids, _, _) = random_params(model), batch(cfg)
    apply = jax.jit(lambda ids, mask: model.apply({"params": params}, ids, mask).last_hidden_state)
    changed = np.array(ids)
    changed[:, -1] = (changed[:, -1] + 1) % cfg.vocab_size
    causal = np.broadcast_to(np.tril(np.ones((11, 11), np.int32)), (3, 11, 11))
    full = np.ones((3, 11, 11), np.int32)
    np.testing.assert_array_equal(apply(ids, causal)[:, :-1], apply(changed, causal)[:, :-1])
    assert relative_error(apply(ids, full)[:, :-1], apply(changed, full)[:, :-1]) > 1e-4


def test_rows_without_any_key_stay_finite():
    model = build_model(CFG, "pretraining")
    params, (ids, mask, types) = random_params(model), batch(CFG)
    mask = mask.copy()
    mask[2] = 0

    def loss(params):
        out = model.apply({"params": params}, ids, mask, types)
        return jnp.square(out.prediction_logits).mean(), out

    gradients, out = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradients, out)))


@pytest.mark.parametrize("variant", ["mobilebert", "teacher"])
def test_bfloat16_stays_close_and_outputs_stay_float32(variant):
    cfg = VARIANTS[variant]
    model, low = (build_model(cfg.replace(dtype=dtype), "pretraining") for dtype in ("float32", "bfloat16"))
    params, flags = random_params(model), dict.fromkeys(EVERYTHING, True)
    expected = jax.jit(lambda params: model.apply({"params": params}, *batch(cfg), **flags))(params)
    found = jax.jit(lambda params: low.apply({"params": params}, *batch(cfg), **flags))(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    for name in ("prediction_logits", "seq_relationship_logits"):
        assert 1e-5 < relative_error(getattr(found, name), getattr(expected, name)) < 0.03, name
    for name in ("hidden_states", "attention_probs", "pooler_output"):
        assert 1e-5 < relative_error(getattr(found.encoder, name), getattr(expected.encoder, name)) < 0.03, name


def test_bfloat16_holds_the_activations_of_1e7_that_no_norm_models_reach():
    cfg = CFG.replace(dtype="bfloat16")
    model = build_model(cfg, "pretraining")
    params = random_params(model)
    params["encoder"]["embeddings"]["norm"]["scale"] *= 1e7
    out = jax.jit(lambda params: model.apply({"params": params}, *batch(cfg)))(params)
    assert np.abs(out.encoder.last_hidden_state).max() > 1e6
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(out))


def test_an_unknown_head_is_refused():
    with pytest.raises(UserError, match="head 'span': must be one of None, 'pretraining', 'masked_lm', "):
        build_model(CFG, "span")
