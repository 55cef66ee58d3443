"""A step's arguments on a mesh, before any exists: trees as on one device, slots beside their parameters."""

import jax
import optax
import pytest

from mobilebert_jax.models.heads import MobileBertForPreTraining
from mobilebert_jax.models.initialise import abstract_params, logical_axes
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.mesh import MeshShape
from mobilebert_jax.parallel.rules import AXES, PRESETS
from mobilebert_jax.training.placing import placed_params, placed_state, placed_trained, shardings_of
from mobilebert_jax.training.program import init_state
from mobilebert_jax.training.transfer import PrefixProgram
from mobilebert_jax.utils.trees import is_stacked, named_leaves
from tests.training.cases import ALONE, BLOCK, EVERYTHING, OPTIMIZERS, PAIR, PREFIX, STUDENT, TRANSFER

PROGRAMS = (BLOCK, PREFIX, PrefixProgram(TRANSFER, with_embeddings=True), PAIR, EVERYTHING, ALONE)


@pytest.fixture(scope="module")
def layout():
    mesh = jax.sharding.AbstractMesh(MeshShape(data=2, fsdp=2, tensor=2).sizes, AXES)
    return Layout(mesh, PRESETS["fsdp_tensor"], PRESETS["dp"], 64)


@pytest.fixture(scope="module")
def params(layout):
    model = MobileBertForPreTraining(STUDENT)
    return placed_params(layout, logical_axes(model), abstract_params(model))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_state_is_shaped_as_on_one_device_and_slots_lie_beside_parameters(layout, params, program, optimizer):
    config = OPTIMIZERS[optimizer]
    trained = placed_trained(program, params)
    state = placed_state(layout, config, trained)
    plain = jax.eval_shape(lambda tree: init_state(program.cut(tree, 1)[0], config), abstract_params_of(params))
    assert jax.tree.structure(state) == jax.tree.structure(plain)
    for own, expected in zip(jax.tree.leaves(state), jax.tree.leaves(plain), strict=True):
        assert (own.shape, own.dtype) == (expected.shape, expected.dtype)
    for slot in ("mu", "nu"):
        assert shardings_of(optax.tree.get(state.opt_state, slot)) == shardings_of(trained)
    assert any(any(leaf.sharding.spec) for leaf in jax.tree.leaves(trained))


def abstract_params_of(params):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)


def test_a_block_cut_out_of_its_stack_lies_as_it_did_there(params):
    stack = {name: leaf for name, leaf in named_leaves(params).items() if is_stacked(name)}
    whole = {name.removeprefix("encoder/layers/"): leaf for name, leaf in stack.items()}
    for name, leaf in named_leaves(placed_trained(BLOCK, params)).items():
        assert leaf.shape == whole[name].shape[1:]
        assert tuple(leaf.sharding.spec) == tuple(whole[name].sharding.spec)[1:]
