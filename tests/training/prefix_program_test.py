"""Soft freezing: the blocks up to one learn from that one's loss, at the cost of those blocks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.training.transfer import PrefixProgram, Transfer
from mobilebert_jax.training.walks import Pair
from mobilebert_jax.utils.types import EncoderOutput
from tests.models.reference import encode
from tests.training.cases import (
    BLOCKS,
    COEFFICIENTS,
    PAIR,
    PREFIX,
    STUDENT,
    TEACHER,
    TRANSFER,
    assert_close,
    assert_same_bits,
    batch,
    block_stage,
    cut_block,
    gradients,
    network,
    run_stage,
    step_of,
)
from tests.training.plain import autodiff, transfer_means

STAGES = [block_stage(block, lower=0.3) for block in range(BLOCKS)]
TF1 = Transfer(Pair(TEACHER, STUDENT, (0, 1, 2), tf1_compat=True), COEFFICIENTS)
TF1_PREFIX = PrefixProgram(TF1, with_embeddings=True)
TF1_WHOLE = PairProgram(TF1, COEFFICIENTS, blocks_only=False)


def norm(tree):
    return np.sqrt(sum(np.sum(np.square(np.float64(leaf))) for leaf in jax.tree.leaves(tree)))


def outside_blocks(params):
    return {**params, "encoder": {name: part for name, part in params["encoder"].items() if name != "layers"}}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_gradients_equal_the_full_co_walk_and_plain_reverse_mode_and_are_zero_above(stage):
    grads, means = gradients(PREFIX, stage)
    all_grads, all_means = gradients(PAIR, stage)
    plain_grads, plain_means = autodiff(TRANSFER.pair, stage.block_weights)
    for expected, expected_means in ((all_grads, all_means), (plain_grads, plain_means)):
        assert_close(grads["layers"], expected["encoder"]["layers"])
        assert_close(means, {name: expected_means[name][stage.top] for name in means})
    for leaf in jax.tree.leaves(grads):
        assert not leaf[stage.top + 1 :].any() and jnp.isfinite(leaf).all()


def test_every_stage_updates_its_blocks_as_the_full_co_walk_does_and_changes_no_other_bit():
    plan, params = Plan(tuple(STAGES)), network(STUDENT, 2)
    for index in range(BLOCKS):
        updated, _, _ = run_stage(PREFIX, plan, index, params)
        expected, _, _ = run_stage(PAIR, plan, index, params)
        for block in range(BLOCKS):
            if block <= index:
                assert_close(cut_block(updated, block), cut_block(expected, block))
                assert norm(cut_block(updated, block)) != norm(cut_block(params, block))
            else:
                assert_same_bits(cut_block(updated, block), cut_block(params, block))
        assert_same_bits(outside_blocks(updated), outside_blocks(params))
        params = updated
    assert step_of(PREFIX)._cache_size() == 1


@pytest.mark.parametrize("stage", STAGES[::2], ids=lambda stage: stage.name)
def test_tf1_gradients_reach_the_embeddings(stage):
    grads, means = gradients(TF1_PREFIX, stage)
    whole, whole_means = gradients(TF1_WHOLE, stage)
    assert_close(grads, {part: whole["encoder"][part] for part in grads})
    np.testing.assert_allclose(norm(grads), norm(whole), rtol=1e-5)
    assert norm(grads["embeddings"]) > 0.01 * norm(grads)
    assert_close(means, {name: whole_means[name][stage.top] for name in means})


def test_tf1_clips_by_the_norm_with_the_embeddings_and_leaves_them_as_they_are():
    stage = dataclasses.replace(block_stage(1, lower=0.3, steps=1), background=False)
    params = network(STUDENT, 2)
    updated, state, _ = run_stage(TF1_PREFIX, Plan((stage,)), 0, params, "tf1")
    grads, _ = gradients(TF1_PREFIX, stage)
    moments = optax.tree.get(state.opt_state, "mu")
    expected = jax.tree.map(lambda grad: 0.1 * grad / norm(grads), grads["layers"])
    assert_close(moments["layers"], expected)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(moments["embeddings"]))
    assert_same_bits(outside_blocks(updated), outside_blocks(params))


@pytest.mark.parametrize("tf1_compat", [False, True])
def test_losses_equal_numpy(tf1_compat):
    """With tf1_compat: padding counts, and means and variances are compared with all of the teacher's layers."""
    examples, outputs = batch(), []
    for cfg, seed in ((TEACHER, 1), (STUDENT, 2)):
        inputs = [examples[name] for name in ("input_ids", "attention_mask", "token_type_ids")]
        found = encode(cfg, network(cfg, seed), *inputs)
        outputs.append(EncoderOutput(**{name: found[name] for name in EncoderOutput.__dataclass_fields__}))
    expected = transfer_means(np, *outputs, (0, 1, 2), examples["attention_mask"], tf1_compat)
    program = TF1_PREFIX if tf1_compat else PREFIX
    for stage in STAGES:
        means = gradients(program, stage)[1]
        assert_close(means, {name: values[stage.top] for name, values in expected.items()})
