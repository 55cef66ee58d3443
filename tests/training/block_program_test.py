"""Hard freezing: one block learns at the cost of one block, and nothing else moves by a bit."""

import jax
import numpy as np
import pytest

from mobilebert_jax.training.program import init_state
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.utils.trees import count_parameters
from tests.training.cases import (
    BLOCK,
    BLOCKS,
    OPTIMIZERS,
    PAIR,
    STUDENT,
    TRANSFER,
    assert_close,
    assert_same_bits,
    block_stage,
    cut_block,
    gradients,
    network,
    run_stage,
    step_of,
)
from tests.training.plain import autodiff

STAGES = [block_stage(block) for block in range(BLOCKS)]
PLAN = Plan(tuple(STAGES))


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_losses_and_gradients_equal_the_full_co_walk_with_gates(stage):
    grads, means = gradients(BLOCK, stage)
    all_grads, all_means = gradients(PAIR, stage)
    assert_close(grads, cut_block(all_grads, stage.top))
    assert_close(means, {name: all_means[name][stage.top] for name in means})


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_losses_and_gradients_equal_plain_reverse_mode_through_both_models(stage):
    grads, means = gradients(BLOCK, stage)
    plain_grads, plain_means = autodiff(TRANSFER.pair, stage.block_weights)
    assert_close(grads, cut_block(plain_grads, stage.top))
    assert_close(means, {name: plain_means[name][stage.top] for name in means})


@pytest.mark.parametrize("optimizer", ["lamb", "adamw"])
def test_every_stage_updates_its_block_as_the_full_co_walk_does_and_changes_no_other_bit(optimizer):
    params = network(STUDENT, 2)
    for index in range(BLOCKS):
        updated, _, metrics = run_stage(BLOCK, PLAN, index, params, optimizer)
        expected, _, expected_metrics = run_stage(PAIR, PLAN, index, params, optimizer)
        assert_close(cut_block(updated, index), cut_block(expected, index))
        for found, reference in zip(metrics, expected_metrics, strict=True):
            assert_close(found["grad_norm"], reference["grad_norm"])
        others = {name: value for name, value in params.items() if name != "encoder"}
        assert_same_bits({name: updated[name] for name in others}, others)
        assert_same_bits(updated["encoder"]["embeddings"], params["encoder"]["embeddings"])
        for other in set(range(BLOCKS)) - {index}:
            assert_same_bits(cut_block(updated, other), cut_block(params, other))
        unmoved = map(np.array_equal, *map(jax.tree.leaves, (cut_block(updated, index), cut_block(params, index))))
        assert sum(unmoved) <= 1  # the key's bias may stay: nothing depends on it
        params = updated
    assert step_of(BLOCK, optimizer)._cache_size() == 1


def test_optimizer_slots_exist_for_one_block_alone():
    params = network(STUDENT, 2)
    trained, _ = BLOCK.cut(params, 1)
    slots = init_state(trained, OPTIMIZERS["lamb"]).opt_state
    assert count_parameters(slots) == 2 * count_parameters(cut_block(params, 1))
