"""Several updates from one batch: the teacher's outputs are made once, and each update is what it would be alone."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.training import loop
from mobilebert_jax.training.local import TEACHER as SEEN
from mobilebert_jax.training.local import LocalProgram
from mobilebert_jax.training.program import LearningRate, control_at, init_state, make_step
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.training.transfer import Transfer
from mobilebert_jax.utils.errors import NonFiniteError, Stopped
from tests.training.cases import (
    COEFFICIENTS,
    OPTIMIZERS,
    STUDENT,
    TEACHER,
    TRANSFER,
    assert_close,
    assert_same_bits,
    batch,
    compiled_step,
    gradients,
    local_stage,
    network,
)
from tests.training.local_program_test import PAIRS
from tests.training.nonfinite_test import SCALE, poisoned
from tests.training.phases import run, transfer_phase
from tests.training.quick import quick_jit

UPDATES = 3
SEVERAL = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True, updates=UPDATES)
FED = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True, gated=True, feeds=True, updates=UPDATES)
FED_STAGE = local_stage(inputs="teacher", fed=(0.5, 0.5), block_spans=((0, 3), (1, 3), (0, 2)))
RATE = LearningRate(peak=3e-3, warmup_steps=0, total_steps=40, end_ratio=1.0)


def seen(program):
    return quick_jit(program.seen)(network(TEACHER, 1), batch())


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_gradients_on_stored_outputs_are_those_of_the_walk(pair):
    program = LocalProgram(Transfer(pair, COEFFICIENTS), COEFFICIENTS, blocks_only=True, updates=2)
    stage = local_stage(blocks=pair.student.num_hidden_layers)
    expected = gradients(program, stage, student=pair.student)
    assert_close(gradients(program, stage, student=pair.student, examples=seen(program)), expected)


def test_what_enters_the_teachers_blocks_is_stored_only_where_it_is_fed():
    for program, fed in ((SEVERAL, False), (FED, True)):
        entered, target = seen(program)[SEEN]
        assert (entered is not None) == fed
        assert target.hidden.shape[:2] == (8, 3) and target.attention_scores.shape[:2] == (8, 3)
    np.testing.assert_array_equal(seen(FED)[SEEN][0][:, 1], seen(FED)[SEEN][1].hidden[:, 0])


def test_several_microbatches_are_one():
    examples = seen(FED)
    assert_close(gradients(FED, FED_STAGE, 4, examples=examples), gradients(FED, FED_STAGE, 1, examples=examples))


def step_with(program):
    return quick_jit(make_step(program, OPTIMIZERS["adamw"], RATE, 1, 0).__wrapped__)


@pytest.mark.parametrize(("program", "stage"), [(SEVERAL, local_stage()), (FED, FED_STAGE)], ids=["plain", "fed"])
def test_a_step_of_several_updates_is_as_many_steps_on_the_same_batch(program, stage):
    """At a step that is not the stage's first, at which slots are reset."""
    once = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True, gated=program.gated, feeds=program.feeds)
    control, params = control_at(Plan((stage,)), 0), network(STUDENT, 2)
    trained, rest = once.cut(params, 0)
    state = init_state(trained, OPTIMIZERS["adamw"], 1)
    given = rest, network(TEACHER, 1), batch(), control
    found, metrics = step_with(program)(state, *given)
    step, first = step_with(once), None
    for _ in range(UPDATES):
        state, each = step(state.replace(step=jnp.int32(1)), *given)
        first = first or each
    assert_close(found.trained, state.trained)
    assert_close(found.opt_state, state.opt_state, rtol=1e-4)
    assert int(found.step) == 2
    assert_close({name: metrics[name] for name in COEFFICIENTS}, {name: first[name] for name in COEFFICIENTS})
    assert_close({"norm": metrics["grad_norm"]}, {"norm": first["grad_norm"]})


def test_slots_are_reset_before_the_first_update_of_a_stage_alone():
    control, (trained, rest) = control_at(Plan((local_stage(),)), 0), SEVERAL.cut(network(STUDENT, 2), 0)
    state = init_state(trained, OPTIMIZERS["adamw"], 0)
    spoilt = state.replace(opt_state=jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), state.opt_state))
    found, expected = (
        step_with(SEVERAL)(each, rest, network(TEACHER, 1), batch(), control)[0] for each in (spoilt, state)
    )
    assert_same_bits(found.trained, expected.trained)


def as_wide_as_the_teacher(lowered):
    """How many products of a program are as wide as only the teacher's are; those of a loop's body count once."""
    return len(re.findall(rf"dot_general.*x{TEACHER.intermediate_size}xf32>", lowered.as_text()))


def test_an_update_on_stored_outputs_runs_nothing_of_the_teacher():
    control, (trained, rest) = control_at(Plan((local_stage(),)), 0), SEVERAL.cut(network(STUDENT, 2), 0)

    def products(examples):
        given = trained, rest, network(TEACHER, 1), examples, SEVERAL.counts(batch()), control, jax.random.key(0)
        return as_wide_as_the_teacher(jax.jit(SEVERAL.gradients).lower(*given))

    assert products(batch()) > 0 and products(seen(SEVERAL)) == 0


def test_the_teacher_walks_once_however_many_updates_there_are():
    control = control_at(Plan((local_stage(),)), 0)

    def walks(updates):
        program = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True, updates=updates)
        trained, rest = program.cut(network(STUDENT, 2), 0)
        state = init_state(trained, OPTIMIZERS["adamw"], 0)
        step = make_step(program, OPTIMIZERS["adamw"], RATE, 1, 0)
        return as_wide_as_the_teacher(step.lower(state, rest, network(TEACHER, 1), batch(), control))

    assert walks(1) == walks(2) == walks(5) > 0


def test_a_batch_that_leaves_the_finite_numbers_changes_nothing_and_counts_once():
    params = poisoned(network(STUDENT, 2), SCALE, 3e38, index=1)
    control, (trained, rest) = control_at(Plan((local_stage(),)), 0), SEVERAL.cut(params, 0)
    step = quick_jit(make_step(SEVERAL, OPTIMIZERS["adamw"], RATE, 1, 0, 1).__wrapped__)
    state, metrics = step(init_state(trained, OPTIMIZERS["adamw"], 1), rest, network(TEACHER, 1), batch(), control)
    assert not metrics["finite"] and metrics["healthy"] and int(state.skipped) == 1
    assert_same_bits(state.trained, trained)


@pytest.fixture
def one_compilation(monkeypatch):
    monkeypatch.setattr(loop, "make_step", compiled_step)


def phase(**changes):
    plan = Plan((local_stage(steps=4, updates=UPDATES, inputs="teacher", fed=(1.0, 0.0)),))
    return transfer_phase(plan=plan, programs=(FED,), **changes)


def test_a_stopped_run_ends_in_the_same_bits(one_compilation, tmp_path):
    whole = run(phase(), tmp_path / "whole")
    with pytest.raises(Stopped):
        run(phase(), tmp_path / "parts", stop_after=1)
    with pytest.raises(KeyError, match="power cut"):
        run(phase(), tmp_path / "parts", break_at=3)
    assert_same_bits(run(phase(), tmp_path / "parts"), whole)


def test_the_block_at_fault_is_named(one_compilation, tmp_path):
    spoilt = functools.partial(poisoned, network(STUDENT, 2), SCALE, 3e38, index=1)
    with pytest.raises(NonFiniteError, match=r"the output of layer 1 of the student"):
        run(phase(init=spoilt), tmp_path)
