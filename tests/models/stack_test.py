"""The scanned stack: equal to its blocks one by one, whatever is rematerialised, named on every axis."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.block import Block
from mobilebert_jax.models.embeddings import Embeddings
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.utils.trees import is_stacked, named_leaves
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error

POLICIES = ["none", "full", "dots", "named"]


def unrolled(cfg, params, input_ids, attention_mask, token_type_ids):
    """Hidden states, scores and probabilities from a Python loop over slices of the stacked parameters."""
    embedded = Embeddings(cfg).apply({"params": params["embeddings"]}, input_ids, attention_mask, token_type_ids)
    hidden, scores, probs = [embedded], [], []
    for layer in range(cfg.num_hidden_layers):
        own = jax.tree.map(lambda leaf: leaf[layer], params["layers"])  # noqa: B023
        out = Block(cfg).apply({"params": own}, hidden[-1], attention_mask, True, True, True)
        hidden.append(out.hidden)
        scores.append(out.attention_scores)
        probs.append(out.attention_probs)
    return jnp.stack(hidden), jnp.stack(scores), jnp.stack(probs)


def scanned(cfg, params, *inputs):
    flags = ("output_hidden_states", "output_attention_scores", "output_attention_probs")
    out = MobileBert(cfg).apply({"params": params}, *inputs, **dict.fromkeys(flags, True))
    return out.hidden_states, out.attention_scores, out.attention_probs


def outputs_and_gradients(walk, cfg, params, inputs):
    """The walk's outputs and the gradients of a loss that reaches every layer's hidden state and probabilities."""

    def loss(params):
        hidden, scores, probs = walk(cfg, params, *inputs)
        return jnp.sum(jnp.sin(hidden)) + jnp.sum(jnp.square(probs)), (hidden, scores, probs)

    (_, found), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return found, gradients


@pytest.mark.parametrize("variant", ["mobilebert", "teacher"])
def test_scan_equals_unrolled_forward_and_backward(variant):
    smaller = {"num_hidden_layers": 2, "num_feedforward_networks": 2, "classifier_activation": False}
    cfg = VARIANTS[variant].replace(**smaller)
    params = random_params(MobileBert(cfg))
    found, found_gradients = outputs_and_gradients(scanned, cfg, params, batch(cfg))
    expected, expected_gradients = outputs_and_gradients(unrolled, cfg, params, batch(cfg))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    expected_gradients = named_leaves(expected_gradients)
    for name, gradient in named_leaves(found_gradients).items():
        if not name.endswith("key/bias"):  # a softmax does not see it: its gradient is rounding alone
            assert relative_error(gradient, expected_gradients[name]) < 1e-5, name


@functools.cache
def remat_gradients(policy):
    """Gradients, and how many matrix products the differentiated program holds."""
    cfg = VARIANTS["mobilebert"].replace(num_feedforward_networks=2, remat=policy)
    model = build_model(cfg, "qa")
    params, inputs = random_params(model), batch(cfg)

    def loss(params):
        out = model.apply({"params": params}, *inputs)
        return jnp.sum(jnp.sin(out.start_logits)) + jnp.sum(jnp.cos(out.end_logits))

    gradient = jax.grad(loss)
    return named_leaves(jax.jit(gradient)(params)), str(jax.make_jaxpr(gradient)(params)).count("dot_general")


@pytest.mark.parametrize("policy", POLICIES[1:])
def test_remat_policies_give_equal_gradients(policy):
    expected, _ = remat_gradients("none")
    found, _ = remat_gradients(policy)
    for name, gradient in found.items():
        if not name.endswith("key/bias"):
            assert relative_error(gradient, expected[name]) < 1e-5, name


def test_remat_policies_recompute_what_they_do_not_keep():
    products = {policy: remat_gradients(policy)[1] for policy in POLICIES}
    assert products["none"] < products["dots"] < products["named"] <= products["full"]


@pytest.mark.parametrize("variant", ["mobilebert", "tiny", "teacher", "bert"])
def test_a_blocks_scores_alone_equal_those_of_the_whole_block(variant):
    cfg = VARIANTS[variant]
    params = jax.tree.map(lambda leaf: leaf[1], random_params(MobileBert(cfg))["layers"])
    x = np.random.default_rng(2).normal(size=(3, 11, cfg.hidden_size)).astype(np.float32)
    _, mask, _ = batch(cfg)
    whole = Block(cfg).apply({"params": params}, x, mask, output_scores=True).attention_scores
    alone = Block(cfg).apply({"params": params}, x, mask, method="attention_scores")
    np.testing.assert_array_equal(alone, whole)


@pytest.mark.parametrize(
    ("variant", "head"),
    [*((variant, "pretraining") for variant in VARIANTS), ("mobilebert", "qa"), ("teacher", "classification")],
)
def test_every_parameter_has_logical_axis_names_and_stacked_ones_start_with_layers(variant, head):
    model = build_model(VARIANTS[variant], head)
    ids = jnp.zeros((1, 2), jnp.int32)
    boxed = jax.eval_shape(lambda: model.init(jax.random.key(0), ids, ids, ids))["params"]
    boxes = jax.tree_util.tree_leaves_with_path(boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))
    assert len(boxes) == len(jax.tree.leaves(boxed)) > 10
    for path, box in boxes:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert isinstance(box, nn.LogicallyPartitioned), name
        assert len(box.names) == box.value.ndim and all(isinstance(axis, str) for axis in box.names), name
        assert is_stacked(name) == (box.names[0] == "layers") and "layers" not in box.names[1:], name
        assert len(set(box.names)) == len(box.names), f"{name}: one mesh axis cannot split two dimensions"
