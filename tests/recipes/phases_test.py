"""Which program trains which stage."""

import pytest

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.recipes.plans import transfer_plan
from mobilebert_jax.recipes.programs import stage_programs
from mobilebert_jax.training.transfer import Transfer
from mobilebert_jax.training.walks import Pair

TEACHER = ModelConfig.test_teacher()


@pytest.mark.parametrize(
    ("changes", "kinds", "programs"),
    [
        ({}, ["block"] * 3, 1),
        ({"lower_rate": 0.3}, ["block", "prefix", "prefix"], 2),
        ({"strategy": "joint"}, ["pair"], 1),
    ],
)
def test_stages_of_one_kind_share_one_program(config, changes, kinds, programs):
    config.transfer.update(changes)
    plan = transfer_plan(config, 3)
    pair = Pair(TEACHER, ModelConfig.test_student(), (0, 1, 2))
    made = stage_programs(plan, Transfer(pair, plan.stages[0].coefficients))
    assert [program.name for program in made] == kinds
    assert len({id(program) for program in made}) == programs
