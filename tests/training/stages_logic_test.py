"""Stages and plans as data: what they refuse, the walk they ask for, and which stage a step belongs to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.training.stages import Plan, Stage
from mobilebert_jax.utils.errors import UserError
from tests.training.cases import COEFFICIENTS, HEADS, block_stage, local_stage, whole_stage

FROZEN = {"embedding_rate": 0.0, "head_rate": 0.0}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"coefficients": {"hiden": 1.0}}, "stage 'bad': no loss term 'hiden'"),
        ({"steps": 0}, "stage 'bad': steps=0, at least 1 is needed"),
        ({"block_weights": (1.0,)}, "stage 'bad': 1 weights for 2 blocks"),
        ({"block_rates": (1.0, -0.1)}, "stage 'bad': a learning-rate multiplier is negative"),
        ({"head_rate": -1.0}, "stage 'bad': a learning-rate multiplier is negative"),
        ({"block_rates": (0.0, 0.0), **FROZEN}, "stage 'bad': nothing learns, every learning-rate multiplier is 0"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(changes, message):
    good = {"name": "bad", "steps": 1, "coefficients": {"hidden": 1.0}, "block_rates": (1.0, 0.0)}
    Stage(**good)
    with pytest.raises(UserError) as caught:
        Stage(**good | changes)
    assert str(caught.value) == message


LOCAL = {"coefficients": COEFFICIENTS, "block_weights": (1.0, 1.0), "gradient": "local", **FROZEN}
HEADS_BESIDE = COEFFICIENTS | {"masked_lm": 1.0}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"gradient": "half"}, "gradient='half', must be one of full, local"),
        ({"inputs": "both"}, "inputs='both', must be one of student, teacher"),
        (
            {"coefficients": HEADS_BESIDE},
            "masked_lm needs the whole student, with gradient='local' each block learns from its own transfer loss "
            "alone; leave it out or set gradient='full'",
        ),
        (
            {"coefficients": COEFFICIENTS | {"distillation": 0.5}},
            "distillation needs the whole student, with gradient='local' each block learns from its own transfer loss "
            "alone; leave it out or set gradient='full'",
        ),
        (
            {"head_rate": 1.0},
            "with gradient='local' nothing reaches embeddings and heads, their learning-rate multipliers must be 0",
        ),
        ({"block_weights": (1.0, 0.0)}, "block 1 has no transfer loss to learn from"),
        ({"block_weights": ()}, "block 0 has no transfer loss to learn from"),
        ({"fed": (0.5, 1.5)}, "fed=(0.5, 1.5), shares of the blocks must be from 0 to 1"),
        ({"block_spans": ((0, 3),)}, "1 spans for 2 blocks"),
        ({"block_end_ratio": 1.01}, "block_end_ratio=1.01, must be from 0 to 1"),
        ({"updates": 0}, "updates=0, at least 1 is needed"),
        ({"updates": 2, "gradient": "full"}, "updates=2 is for blocks that learn alone, with gradient='local'"),
        (
            {"block_spans": ((0, 3), (1, 4))},
            "block 1 learns from step 1 to 4, outside the stage's 3 steps",
        ),
        ({"block_spans": ((0, 3), (2, 2))}, "block 1 learns from step 2 to 2, outside the stage's 3 steps"),
        (
            {"gradient": "full", "inputs": "teacher"},
            "inputs='teacher' is for blocks that learn alone, with gradient='local'",
        ),
        (
            {"gradient": "full", "block_spans": ((0, 1), (0, 3))},
            "block_spans is for blocks that learn alone, with gradient='local'",
        ),
    ],
)
def test_blocks_that_learn_alone_are_refused_what_they_cannot_have(changes, message):
    good = {"name": "bad", "steps": 3, "block_rates": (1.0, 1.0), **LOCAL}
    Stage(**good | {"inputs": "teacher", "fed": (1.0, 0.0), "block_spans": ((0, 2), (1, 3))})
    with pytest.raises(UserError) as caught:
        Stage(**good | changes)
    assert str(caught.value) == f"stage 'bad': {message}"


def stage(coefficients=COEFFICIENTS, rates=(0.0, 3.0, 0.0), weights=(0.0, 1.0, 0.0), **settings):
    return Stage("a stage", 1, coefficients, rates, weights, **FROZEN | settings)


@pytest.mark.parametrize(
    "found, walk",
    [
        (block_stage(0), "block"),
        (block_stage(2), "block"),
        (block_stage(0, lower=0.3), "block"),
        (block_stage(2, lower=0.3), "prefix"),
        (stage(rates=(0.0, 3.0, 3.0)), "pair"),
        (stage(rates=(0.3, 0.0, 0.0)), "pair"),
        (stage(rates=(3.0,) * 3, weights=(1.0,) * 3), "pair"),
        (local_stage(), "local"),
        (local_stage(inputs="teacher"), "local"),
        (stage(embedding_rate=1.0), "pair"),
        (stage(head_rate=1.0), "pair"),
        (stage(COEFFICIENTS | {"masked_lm": 1.0}), "pair"),
        (whole_stage(COEFFICIENTS | HEADS), "pair"),
        (whole_stage(HEADS, weights=()), "alone"),
        (whole_stage(HEADS), "alone"),
        (whole_stage(COEFFICIENTS, weights=(0.0,) * 3), "alone"),
        (whole_stage(dict.fromkeys(COEFFICIENTS, 0.0) | HEADS), "alone"),
    ],
)
def test_each_stage_is_walked_in_the_cheapest_way_to_its_gradients(found, walk):
    assert found.walk == walk


def test_a_stage_is_gated_where_a_block_does_not_learn_at_every_step():
    assert not local_stage().gated and local_stage(block_spans=((0, 3), (0, 3), (1, 3))).gated
    assert local_stage(block_rates=(3.0, 0.0, 3.0)).gated


def test_a_stage_knows_what_it_needs():
    progressive, auxiliary, distillation = block_stage(1), whole_stage(COEFFICIENTS | HEADS), whole_stage(HEADS)
    assert (progressive.transfers, progressive.uses_heads, progressive.trains_blocks_only) == (True, False, True)
    assert (auxiliary.transfers, auxiliary.uses_heads, auxiliary.trains_blocks_only) == (True, True, False)
    assert (distillation.transfers, distillation.uses_heads) == (False, True)
    assert (progressive.top, auxiliary.top, whole_stage(HEADS, weights=()).top) == (1, 2, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_every_step_belongs_to_the_stage_whose_turn_it_is(lengths):
    plan = Plan(tuple(whole_stage(HEADS, steps=steps) for steps in lengths))
    owners = [index for index, steps in enumerate(lengths) for _ in range(steps)]
    assert plan.steps == plan.start(len(lengths)) == len(owners)
    assert [plan.index_at(step) for step in range(plan.steps)] == owners
    assert [plan.start(index) for index in range(len(lengths))] == [owners.index(i) for i in range(len(lengths))]
    assert plan.index_at(plan.steps) == plan.index_at(plan.steps + 7) == len(lengths) - 1
