"""The strategies as stages: the published numbers."""

import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.plans import distill_coefficients, distill_plan, transfer_coefficients, transfer_plan
from mobilebert_jax.recipes.programs import transfer_programs
from mobilebert_jax.recipes.settings import model_config

BLOCKS = 24


def test_the_four_factors_are_divided_by_the_number_of_blocks(config):
    coefficients = transfer_coefficients(config, BLOCKS)
    assert coefficients == {"hidden": 100 / 24, "mean": 5000 / 24, "variance": 5 / 24, "attention": 1 / 24}


def test_a_factor_of_0_leaves_its_term_out(config):
    config.transfer.attention = 0.0
    assert "attention" not in transfer_coefficients(config, BLOCKS)


def test_progressive_transfer_has_a_stage_a_block_of_10k_steps(config):
    plan = transfer_plan(config, BLOCKS)
    assert [stage.steps for stage in plan.stages] == [10_000] * 24
    for block, stage in enumerate(plan.stages):
        assert stage.block_weights == tuple(np.eye(24)[block])
        assert stage.block_rates == tuple(3.0 * np.eye(24)[block])
        assert (stage.embedding_rate, stage.head_rate, stage.background) == (0.0, 0.0, True)
        assert stage.walk == "block"


def test_soft_freezing_lets_the_lower_blocks_learn_at_a_tenth():
    plan = transfer_plan(load_config("mobilebert:soft", []), BLOCKS)
    assert plan.stages[2].block_rates == (0.3, 0.3, 3.0, *[0.0] * 21)
    assert [stage.walk for stage in plan.stages] == ["block"] + ["prefix"] * 23


def test_steps_that_do_not_divide_go_to_the_last_block(config):
    config.transfer.steps = 11
    assert [stage.steps for stage in transfer_plan(config, 4).stages] == [2, 2, 2, 5]


def test_joint_transfer_is_one_stage_of_all_blocks(config):
    config.transfer.strategy = "joint"
    (stage,) = transfer_plan(config, BLOCKS).stages
    assert stage.steps == 240_000
    assert stage.block_weights == (1.0,) * 24 and stage.block_rates == (3.0,) * 24
    assert stage.trains_blocks_only and stage.walk == "pair"


def test_local_transfer_ends_with_a_joint_share(config):
    config.transfer.update({"strategy": "local", "steps": 1000, "joint_share": 0.2, "teacher_fed": (1.0, 0.25)})
    config.transfer.block_stops = tuple((block + 1) / 24 for block in range(24))
    config.transfer.updates = 3
    local, joint = transfer_plan(config, BLOCKS).stages
    assert (local.updates, joint.updates) == (3, 1)
    assert (local.steps, local.walk, local.inputs, local.fed) == (800, "local", "teacher", (1.0, 0.25))
    assert local.block_spans[0] == (0, 33) and local.block_spans[-1] == (0, 800)
    assert (joint.steps, joint.walk, joint.block_rates) == (200, "pair", local.block_rates)
    assert local.block_rates == (3.0,) * 24 and local.block_weights == (1.0,) * 24


def test_two_shares_are_the_first_and_the_last_blocks_with_a_straight_line_between(config):
    config.transfer.update({"strategy": "local", "steps": 1000, "block_starts": (0.0, 0.2), "block_stops": (0.4, 1.0)})
    (stage,) = transfer_plan(config, 5).stages
    assert stage.block_spans == ((0, 400), (50, 550), (100, 700), (150, 850), (200, 1000))
    # Of two blocks each has its own.
    (stage,) = transfer_plan(config, 2).stages
    assert stage.block_spans == ((0, 400), (200, 1000))


@pytest.mark.parametrize("strategy", ["progressive", "joint", "local"])
def test_the_rate_of_blocks_falls_within_every_stage_if_it_falls(config, strategy):
    config.transfer.update({"strategy": strategy, "joint_share": 0.2, "block_end_ratio": 0.25})
    assert {stage.block_end_ratio for stage in transfer_plan(config, 4).stages} == {0.25}


def test_local_transfer_is_one_stage_that_feeds_itself(config):
    config.transfer.strategy = "local"
    (stage,) = transfer_plan(config, BLOCKS).stages
    assert (stage.steps, stage.inputs, stage.block_spans, stage.gated) == (240_000, "student", (), False)


def test_stages_of_a_kind_share_a_program():
    local = load_config("mobilebert:local", [])
    teacher, student = (model_config(local, which, 1000) for which in ("teacher", "student"))
    plan, programs = transfer_programs(local, teacher, student)
    assert [(stage.steps, program.name) for stage, program in zip(plan.stages, programs, strict=True)] == [
        (15_000, "local"),
        (5_000, "pair"),
    ]
    assert programs[0].feeds and not programs[0].gated
    local.transfer.teacher_fed = (0.0, 0.0)
    assert not transfer_programs(local, teacher, student)[1][0].feeds


def test_distillation_follows_ground_truth_and_teacher_half_and_half(config):
    assert distill_coefficients(config) == {"masked_lm": 0.5, "distillation": 0.5, "next_sentence": 1.0}
    (stage,) = distill_plan(config, BLOCKS).stages
    assert stage.steps == 500_000 and stage.block_rates == (1.0,) * 24
    assert (stage.embedding_rate, stage.head_rate, stage.walk) == (1.0, 1.0, "alone")


@pytest.mark.parametrize(("ratio", "left"), [(1.0, "masked_lm"), (0.0, "distillation")])
def test_a_pure_ratio_leaves_the_other_term_out(config, ratio, left):
    config.distill.ground_truth_ratio = ratio
    assert distill_coefficients(config) == {left: 1.0, "next_sentence": 1.0}


def test_auxiliary_transfer_adds_every_block_s_losses_to_distillation(config):
    config.transfer.strategy = "auxiliary"
    (stage,) = distill_plan(config, BLOCKS).stages
    assert stage.coefficients == {**distill_coefficients(config), **transfer_coefficients(config, BLOCKS)}
    assert stage.block_weights == (1.0,) * 24 and stage.walk == "pair"
