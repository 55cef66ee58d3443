"""Fresh parameters: the reference's distributions, from the seed alone."""

import jax
import numpy as np
import pytest

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params, encoder_parameter_count, init_params
from mobilebert_jax.utils.trees import count_parameters, named_leaves
from tests.models.model_cases import VARIANTS

CFG = VARIANTS["mobilebert"].replace(num_feedforward_networks=1)
MODEL = build_model(CFG, "qa")


@pytest.fixture(scope="module")
def params():
    return init_params(MODEL, 0)


def test_the_same_seed_gives_the_same_parameters_and_another_seed_others(params):
    again, other = init_params(MODEL, 0), init_params(MODEL, 1)
    for name, leaf in named_leaves(params).items():
        np.testing.assert_array_equal(leaf, named_leaves(again)[name])
        if name.endswith(("kernel", "embedding")):
            assert (leaf != named_leaves(other)[name]).any(), name


def test_weights_are_truncated_at_two_sigma_biases_zero_scales_one(params):
    """A normal of stddev 0.02 cut at two sigma has a stddev of 0.02 * 0.8796."""
    weights = []
    for name, leaf in named_leaves(params).items():
        if name.endswith("scale"):
            assert (leaf == 1).all(), name
        elif name.endswith("bias"):
            assert (leaf == 0).all(), name
        else:
            assert 0 < np.abs(leaf).max() <= 0.04, name
            weights.append(np.ravel(leaf))
    assert np.concatenate(weights).std() == pytest.approx(0.02 * 0.8796, rel=0.02)


def test_layers_of_a_stack_start_differently(params):
    kernel = params["encoder"]["layers"]["attention"]["query"]["kernel"]
    assert len({layer.tobytes() for layer in np.asarray(kernel)}) == CFG.num_hidden_layers


def test_the_abstract_tree_is_that_of_the_parameters(params):
    abstract = abstract_params(MODEL)
    assert jax.tree.structure(abstract) == jax.tree.structure(params)
    shapes = jax.tree.map(lambda one, other: (one.shape, one.dtype) == (other.shape, other.dtype), abstract, params)
    assert all(jax.tree.leaves(shapes))


def test_the_encoder_count_leaves_out_pooler_and_heads():
    cfg = VARIANTS["teacher"]
    without_pooler = count_parameters(abstract_params(build_model(cfg.replace(classifier_activation=False))))
    for head in (None, "pretraining", "qa"):
        assert encoder_parameter_count(build_model(cfg, head)) == without_pooler
