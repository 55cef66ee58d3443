"""Parameter trees by name."""

import jax
import numpy as np
import pytest

from mobilebert_jax.utils.errors import NonFiniteError, UserError
from mobilebert_jax.utils.trees import count_parameters, expand_layers, is_stacked, map_named, named_leaves

TREE = {"encoder": {"layers": {"ffn_0": {"kernel": np.ones((2, 3, 4))}}, "norm": {"bias": np.zeros(5)}}, "a": 1.0}


def test_names_are_paths_in_the_trees_own_order():
    assert list(named_leaves(TREE)) == ["a", "encoder/layers/ffn_0/kernel", "encoder/norm/bias"]
    assert list(named_leaves(TREE).values()) == jax.tree.leaves(TREE)


def test_map_named_gives_the_name_and_the_leaves_of_all_trees():
    doubled = map_named(lambda name, one, other: (name, one is other), TREE, TREE)
    assert doubled["encoder"]["norm"]["bias"] == ("encoder/norm/bias", True)
    assert jax.tree.structure(map_named(lambda name, leaf: leaf, TREE)) == jax.tree.structure(TREE)


@pytest.mark.parametrize(
    ("name", "stacked"),
    [("encoder/layers/ffn_0/kernel", True), ("layers/norm/bias", True), ("a/layers_norm/b", False), ("players", False)],
)
def test_only_a_whole_path_component_makes_a_leaf_stacked(name, stacked):
    assert is_stacked(name) == stacked


def test_counts_arrays_and_abstract_arrays():
    tree = {"a": np.zeros((3, 4)), "b": jax.ShapeDtypeStruct((5,), np.float32), "scalar": np.zeros(())}
    assert count_parameters(tree) == 12 + 5 + 1


def test_layer_values_broadcast_against_a_stack():
    scaled = expand_layers(np.array([1.0, 10.0]), TREE["encoder"]["layers"]["ffn_0"]["kernel"])
    assert scaled.shape == (2, 1, 1)


def test_a_non_finite_error_is_a_user_error():
    assert issubclass(NonFiniteError, UserError)
