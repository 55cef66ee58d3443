"""Joint and auxiliary transfer: one scan over both stacks gives the gradients of two plain forward passes."""

import jax
import numpy as np
import pytest

from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.training.transfer import BlockProgram, PrefixProgram, Transfer
from mobilebert_jax.training.walks import Pair
from tests.training.cases import (
    ALONE,
    COEFFICIENTS,
    EVERYTHING,
    HEADS,
    PAIR,
    STUDENT,
    TEACHER,
    TRANSFER,
    assert_close,
    assert_same_bits,
    block_stage,
    gradients,
    network,
    run_stage,
    whole_stage,
)
from tests.training.plain import autodiff

WEIGHTS = (1.0, 0.5, 2.0)
SHALLOW = STUDENT.replace(num_hidden_layers=2)
DEEP = TEACHER.replace(num_hidden_layers=5)
# A teacher block without a student's before, between and after those that have one.
SHALLOW_TRANSFER = Transfer(Pair(DEEP, SHALLOW, (1, 3)), COEFFICIENTS)
SHALLOW_PROGRAMS = {"block": BlockProgram(SHALLOW_TRANSFER), "prefix": PrefixProgram(SHALLOW_TRANSFER)}


def test_joint_transfer_has_the_gradients_of_plain_reverse_mode():
    grads, means = gradients(PAIR, whole_stage(COEFFICIENTS, weights=WEIGHTS))
    plain_grads, plain_means = autodiff(TRANSFER.pair, WEIGHTS)
    assert_close(grads, {"encoder": {"layers": plain_grads["encoder"]["layers"]}})
    assert_close(means, {name: plain_means[name] for name in means})


@pytest.mark.parametrize("remat", ["none", "full", "dots", "named"])
def test_auxiliary_transfer_has_the_gradients_of_plain_reverse_mode_under_every_remat_policy(remat):
    transfer = Transfer(Pair(TEACHER, STUDENT.replace(remat=remat), (0, 1, 2)), COEFFICIENTS)
    program = EVERYTHING if remat == "none" else PairProgram(transfer, EVERYTHING.coefficients, blocks_only=False)
    grads, means = gradients(program, whole_stage(COEFFICIENTS | HEADS, weights=WEIGHTS))
    plain_grads, plain_means = autodiff(TRANSFER.pair, WEIGHTS, COEFFICIENTS | HEADS)
    assert_close(grads, plain_grads)
    assert_close({name: means[name] for name in plain_means}, plain_means)
    assert means.keys() - plain_means.keys() == {"masked_lm_accuracy", "next_sentence_accuracy"}


def test_without_transfer_the_pair_walks_to_the_same_distillation_as_the_models_alone():
    stage = whole_stage(HEADS, weights=())
    off = Transfer(TRANSFER.pair, dict.fromkeys(COEFFICIENTS, 0.0))
    grads, means = gradients(PairProgram(off, HEADS, blocks_only=False), stage)
    alone_grads, alone_means = gradients(ALONE, stage)
    assert_close(grads, alone_grads)
    assert_close(means, alone_means)
    assert_close(alone_grads, autodiff(TRANSFER.pair, WEIGHTS, HEADS)[0])


def test_everything_in_the_student_learns_and_the_teacher_stays_as_it_is():
    teacher, params = jax.tree.map(np.array, network(TEACHER, 1)), network(STUDENT, 2)
    stage = whole_stage(COEFFICIENTS | HEADS)
    updated, state, metrics = run_stage(EVERYTHING, Plan((stage,)), 0, params)
    assert_same_bits(network(TEACHER, 1), teacher)
    assert all(found["healthy"] for found in metrics) and int(state.step) == stage.steps
    unmoved = map(np.array_equal, jax.tree.leaves(updated), jax.tree.leaves(params))
    assert sum(unmoved) == 0


@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("kind", SHALLOW_PROGRAMS)
def test_a_shallower_students_stages_imitate_the_mapped_blocks(kind, block):
    stage = block_stage(block, lower=0.3, blocks=2)
    grads, means = gradients(SHALLOW_PROGRAMS[kind], stage, student=SHALLOW, teacher=DEEP)
    plain_grads, plain_means = autodiff(SHALLOW_TRANSFER.pair, stage.block_weights)
    stack = plain_grads["encoder"]["layers"]
    own = {"layers": stack} if kind == "prefix" else jax.tree.map(lambda leaf: leaf[block], stack)
    assert_close(grads, own)
    assert_close(means, {name: plain_means[name][block] for name in means})


def test_a_shallower_student_walks_with_the_whole_teacher():
    # A stage's coefficients hold the heads' terms too, which are none of the blocks'.
    transfer = Transfer(SHALLOW_TRANSFER.pair, COEFFICIENTS | HEADS)
    program = PairProgram(transfer, COEFFICIENTS | HEADS, blocks_only=False)
    stage = whole_stage(COEFFICIENTS | HEADS, blocks=2, weights=WEIGHTS[:2])
    grads, means = gradients(program, stage, student=SHALLOW, teacher=DEEP)
    plain_grads, plain_means = autodiff(SHALLOW_TRANSFER.pair, WEIGHTS[:2], COEFFICIENTS | HEADS)
    assert_close(grads, plain_grads)
    assert_close({name: means[name] for name in plain_means}, plain_means)
