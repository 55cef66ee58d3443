"""One compiled step for all stages: moments, rates, gates, and what happens when numbers stop being finite."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mobilebert_jax.optim.masks import multiplier_tree
from mobilebert_jax.optim.optimizer import OptimizerConfig
from mobilebert_jax.training.program import LearningRate, all_finite, control_at, init_state, make_step
from mobilebert_jax.training.stages import Plan, Stage
from tests.training.cases import assert_same_bits

RATE = LearningRate(peak=0.1, warmup_steps=3, total_steps=20, end_ratio=0.5)
PLAN = Plan(
    (
        Stage("first", 4, {"masked_lm": 1.0}, (1.0, 0.0), background=True),
        Stage("second", 5, {"masked_lm": 1.0}, (0.3, 3.0), head_rate=0.0, background=True),
        Stage("last", 3, {"masked_lm": 1.0}, (1.0, 1.0)),
    )
)
OPTIMIZERS = [OptimizerConfig(), OptimizerConfig(name="adamw", bias_correction=True)]


@dataclasses.dataclass(frozen=True, eq=False)
class Distance:
    """Two stacked kernels and a head whose loss is their distance from every example's target."""

    name: str = "distance"
    independent: bool = False
    updates: int = 1

    def counts(self, batch):
        return {"masked_lm": jnp.float32(len(batch["target"]))}

    def gradients(self, trained, rest, teacher, batch, counts, control, rng):
        def loss(tree):
            sums = [jnp.square(leaf[..., None] - batch["target"] - rest).sum() for leaf in jax.tree.leaves(tree)]
            return sum(sums) / counts["masked_lm"], {"masked_lm": sum(sums)}

        return jax.grad(loss, has_aux=True)(trained)

    def multipliers(self, trained, control, factor):
        return multiplier_tree(
            trained, [("layers/.*", control.block_rates * factor), ("head/.*", control.head_rate * factor)]
        )


def fresh_params():
    rng = np.random.default_rng(0)
    return {
        "layers": {"kernel": jnp.float32(rng.standard_normal((2, 3)))},
        "head": {"kernel": jnp.float32(rng.standard_normal(4))},
    }


def target(step):
    return {"target": np.random.default_rng(step).standard_normal(2).astype(np.float32)}


@pytest.fixture(scope="module", params=OPTIMIZERS, ids=lambda config: config.name)
def optimizer(request):
    return request.param


@pytest.fixture(scope="module")
def step(optimizer):
    return make_step(Distance(), optimizer, RATE, accumulation=1, seed=0)


def copied(state):
    return jax.tree.map(jnp.copy, state)


def walk(step, state, stop, batches=target):
    """[(state before, state after, metrics)] of every step up to `stop`."""
    seen = []
    for number in range(int(state.step), stop):
        before, control = copied(state), control_at(PLAN, PLAN.index_at(number))
        state, metrics = step(state, 1.0, {}, batches(number), control)
        seen.append((before, copied(state), metrics))
    return seen


def moments(state):
    return {slot: optax.tree.get(state.opt_state, slot) for slot in ("mu", "nu")}


def test_moments_start_over_at_each_stage_and_at_no_other_step(step, optimizer):
    seen = walk(step, init_state(fresh_params(), optimizer), PLAN.steps)
    for number, (before, after, _) in enumerate(seen):
        forgetful = before.replace(opt_state=init_state(before.trained, optimizer).opt_state)
        again, _ = step(copied(forgetful), 1.0, {}, target(number), control_at(PLAN, PLAN.index_at(number)))
        at_start = number in (0, 4, 9)
        # Moments of a step whose rate is 0 are 0, so the step after a stage's first is alike too.
        warming_up = number in (1, 5)
        same = all(map(np.array_equal, jax.tree.leaves(moments(again)), jax.tree.leaves(moments(after))))
        assert same == (at_start or warming_up), number


def test_the_rate_is_the_schedule_times_the_stages_own_warm_up(step, optimizer):
    seen = walk(step, init_state(fresh_params(), optimizer), PLAN.steps)
    for number, (before, after, metrics) in enumerate(seen):
        index = PLAN.index_at(number)
        u = (number - PLAN.start(index)) / PLAN.stages[index].steps
        factor = min(10 * u, 0.9 + 0.1 * np.sqrt(1 - u)) if PLAN.stages[index].background else 1.0
        base = 0.1 * number / 3 if number < 3 else 0.1 * (0.5 + 0.5 * (20 - number) / 20)
        np.testing.assert_allclose(metrics["learning_rate"], base * factor, rtol=1e-6)
        if factor == 0:
            assert_same_bits(after.trained, before.trained)


def test_what_has_no_rate_keeps_its_bits_and_the_rest_moves(step, optimizer):
    seen = walk(step, init_state(fresh_params(), optimizer), PLAN.steps)
    for start, stop, frozen in ((0, 4, "layer"), (4, 9, "head"), (9, 12, "nothing")):
        before, after = seen[start][0].trained, seen[stop - 1][1].trained
        kept = {
            "layer": np.array_equal(before["layers"]["kernel"][1], after["layers"]["kernel"][1]),
            "head": np.array_equal(before["head"]["kernel"], after["head"]["kernel"]),
        }
        assert kept == {name: name == frozen for name in kept}


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_nothing_changes_any_more_after_a_step_that_is_not_finite(step, optimizer, bad):
    """1e30 overflows when it is squared."""

    def poisoned(number):
        return {"target": np.float32([bad, 0.0])} if number == 6 else target(number)

    seen = walk(step, init_state(fresh_params(), optimizer), 10, poisoned)
    assert [bool(metrics["healthy"]) for *_, metrics in seen] == [True] * 6 + [False] * 4
    for before, after, _ in seen[6:]:
        assert_same_bits((after.trained, after.opt_state), (before.trained, before.opt_state))
        assert int(after.step) == int(before.step) + 1
    assert all_finite(seen[-1][1].trained) and all_finite(seen[-1][1].opt_state)


def test_only_the_state_is_donated(step, optimizer):
    state, rest, teacher = init_state(fresh_params(), optimizer), jnp.float32(1.0), {"kernel": jnp.ones(3)}
    batch, control = jax.tree.map(jnp.asarray, target(0)), control_at(PLAN, 0)
    step(state, rest, teacher, batch, control)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.trained))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((rest, teacher, batch, control)))


def test_all_stages_ran_the_same_executable(optimizer):
    step = make_step(Distance(), optimizer, RATE, accumulation=1, seed=0)
    walk(step, init_state(fresh_params(), optimizer), PLAN.steps)
    assert step._cache_size() == 1


def test_control_holds_a_stages_numbers():
    control = control_at(PLAN, 1)
    assert (int(control.start), int(control.steps), int(control.block)) == (4, 5, 0)
    np.testing.assert_array_equal(control.block_rates, np.float32([0.3, 3.0]))
    np.testing.assert_array_equal(control.block_weights, [0, 0])
    assert float(control.embedding_rate) == 1 and float(control.head_rate) == 0 and bool(control.background)


def test_control_points_at_the_highest_block_whose_loss_counts():
    stage = Stage("third", 2, {"hidden": 1.0}, (3.0, 3.0, 0.0), (1.0, 0.5, 0.0))
    control = control_at(Plan((stage,)), 0)
    assert int(control.block) == 1
    np.testing.assert_array_equal(control.block_weights, np.float32([1.0, 0.5, 0.0]))
