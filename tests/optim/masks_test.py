"""Multipliers by rule, each parameter exactly once; decay by name."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.optim.masks import decay_mask, decays, multiplier_tree
from mobilebert_jax.utils.trees import named_leaves

L = 3
SHAPES = {
    "encoder": {
        "embeddings": {"word_embeddings": {"embedding": (11, 4)}, "norm": {"scale": (4,), "bias": (4,)}},
        "layers": {"attention": {"query": {"kernel": (L, 4, 4), "bias": (L, 4)}}},
    },
    "masked_lm": {"output_bias": (11,)},
}
PARAMS = jax.tree.map(
    lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32), SHAPES, is_leaf=lambda leaf: isinstance(leaf, tuple)
)
OUTSIDE = "(?!encoder/layers/).*"


def test_every_parameter_gets_its_rules_value_in_float32():
    tree = multiplier_tree(PARAMS, [("encoder/layers/.*", np.array([0.3, 3.0, 0.0])), (OUTSIDE, 0)])
    assert jax.tree.structure(tree) == jax.tree.structure(PARAMS)
    for name, value in named_leaves(tree).items():
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, [0.3, 3.0, 0.0] if "/layers/" in name else 0.0, rtol=1e-6)


def test_a_scalar_fits_a_stack_too():
    assert all(value.shape == () for value in jax.tree.leaves(multiplier_tree(PARAMS, [(".*", 1.0)])))


def test_values_may_be_traced():
    tree = jax.jit(lambda layers: multiplier_tree(PARAMS, [("encoder/layers/.*", layers), (OUTSIDE, 0.0)]))(np.ones(L))
    assert tree["encoder"]["layers"]["attention"]["query"]["kernel"].shape == (L,)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([("encoder/.*", 1.0)], r"'masked_lm/output_bias': no rule matches.*\['encoder/\.\*'\]"),
        ([(".*", 1.0), ("masked_lm/.*", 0.0)], r"'masked_lm/output_bias': several rules match.*'masked_lm/\.\*'"),
        ([("encoder", 1.0), ("masked_lm/.*", 0.0)], r"no rule matches"),  # the whole name must match
        ([(".*", np.ones(L))], r"gives \[3\] values, right is a scalar: the parameter has no layer axis"),
        ([("encoder/layers/.*", np.ones(L + 1)), (OUTSIDE, 0.0)], r"gives \[4\] values, right is a scalar or \[3\]"),
    ],
)
def test_rules_that_do_not_fit_are_refused_by_name(rules, message):
    with pytest.raises(ValueError, match=message):
        multiplier_tree(PARAMS, rules)


@pytest.mark.parametrize(
    ("name", "decayed"),
    [
        ("encoder/layers/attention/query/kernel", True),
        ("encoder/layers/attention/query/bias", False),
        ("encoder/layers/ffn_0/output/norm/bias", False),
        ("encoder/embeddings/norm/scale", False),
        ("masked_lm/layer_norm/scale", False),
        ("encoder/embeddings/word_embeddings/embedding", True),
        ("masked_lm/output_bias", False),
        ("masked_lm/extra_output_weights", True),
        ("attention/query/kernel", True),
        ("bottleneck/input/norm/scale", False),
        ("normaliser/kernel", True),
        ("bias_table/kernel", True),
    ],
)
def test_decay_goes_by_name(name, decayed):
    assert decays(name) is decayed


def test_boxed_parameters_are_refused_instead_of_decaying_their_biases():
    boxed = {"dense": {"bias": nn.Partitioned(jnp.zeros(3), names=("embed",))}}
    with pytest.raises(ValueError, match="'dense/bias/value' is boxed"):
        decay_mask(boxed)
    assert decay_mask(nn.meta.unbox(boxed)) == {"dense": {"bias": False}}
    assert decays("layers/attention/value/kernel")


def test_decay_mask_ignores_that_a_stacked_bias_has_two_dimensions():
    mask = named_leaves(decay_mask(PARAMS))
    assert {name for name, decayed in mask.items() if decayed} == {
        "encoder/embeddings/word_embeddings/embedding",
        "encoder/layers/attention/query/kernel",
    }
