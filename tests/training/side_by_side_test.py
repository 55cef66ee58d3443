"""Students side by side learn what each learns alone on the same batches, while their teacher walks once."""

import functools

import jax
import numpy as np
import pytest

from mobilebert_jax.training import loop
from mobilebert_jax.training.local import LocalProgram
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.program import control_at, make_step
from mobilebert_jax.training.side_by_side import SideBySide, line_of, one_of, side_by_side
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.training.walks import block_mask, embed, walk
from mobilebert_jax.utils.errors import NonFiniteError, Stopped
from tests.training.cases import (
    ALONE,
    BLOCK,
    BLOCKS,
    COEFFICIENTS,
    HEADS,
    LEARNING_RATE,
    LOCAL,
    OPTIMIZERS,
    PAIR,
    PREFIX,
    STUDENT,
    TEACHER,
    TRANSFER,
    assert_close,
    assert_same_bits,
    batch,
    block_stage,
    compiled_step,
    local_stage,
    network,
    whole_stage,
)
from tests.training.nonfinite_test import SCALE, poisoned
from tests.training.phases import run, transfer_phase

GATED = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True, gated=True, feeds=True)
FED = local_stage(steps=4, inputs="teacher", fed=(1.0, 0.0), block_spans=((0, 2), (0, 4), (1, 4)))
KINDS = {
    "block by block": ((BLOCK, PREFIX), (block_stage(0), block_stage(1, lower=0.3))),
    "each block": ((GATED, PAIR), (FED, local_stage(steps=2, gradient="full"))),
    "distillation": ((ALONE,), (whole_stage(HEADS, weights=()),)),
}
SEEDS = 2, 3


@pytest.fixture(autouse=True)
def one_compilation(monkeypatch):
    monkeypatch.setattr(loop, "make_step", compiled_step)


def phases(kind, **changes):
    """One phase a seed; they differ in their initial parameters."""
    programs, stages = KINDS[kind]
    fields = {"programs": programs, "plan": Plan(stages), "optimizer": OPTIMIZERS["adamw"], **changes}
    return [transfer_phase(init=functools.partial(network, STUDENT, seed), **fields) for seed in SEEDS]


@pytest.mark.parametrize("kind", KINDS)
def test_each_learns_what_it_learns_alone(kind, tmp_path):
    params = run(side_by_side(phases(kind)), tmp_path / "all")
    lines = read_metrics(tmp_path / "all" / "metrics.jsonl")
    for student, phase in enumerate(phases(kind)):
        folder = tmp_path / str(student)
        # Rounding turns into whole steps of Adam where a gradient is next to nothing.
        assert_close(one_of(params, student), run(phase, folder), rtol=1e-4)
        own = read_metrics(folder / "metrics.jsonl")
        assert len(own) == len(lines)
        for line, expected in zip(lines, own, strict=True):
            found = line_of(line, student)
            assert found.keys() == expected.keys()
            for name in ("masked_lm", "hidden", "grad_norm", "learning_rate"):
                if name in expected:
                    np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)
            if "heldout" in line:
                assert found["heldout"] == pytest.approx(expected["heldout"], rel=1e-3)


def test_a_stopped_and_a_cut_off_run_end_in_the_same_bits(tmp_path):
    phase = side_by_side(phases("block by block"))
    whole = run(phase, tmp_path / "whole")
    with pytest.raises(Stopped):
        run(phase, tmp_path / "parts", stop_after=1)
    with pytest.raises(KeyError, match="power cut"):
        run(phase, tmp_path / "parts", break_at=5)
    assert_same_bits(run(phase, tmp_path / "parts"), whole)


def flops(program, stage, students):
    """Of one compiled step; of a loop XLA counts one turn."""
    plan = Plan((stage,))
    settings = OPTIMIZERS["adamw"], LEARNING_RATE, 1, 0, 0
    devices = SideBySide(students)
    params = jax.tree.map(lambda leaf: np.stack([leaf] * students), network(STUDENT, 2))
    trained, rest = devices.cut(program, params, stage.top)
    state = devices.state(program, trained, OPTIMIZERS["adamw"], 0, 0)
    step = make_step(program, *settings, *devices.step_settings(state))
    lowered = step.lower(state, rest, network(TEACHER, 1), batch(), control_at(plan, 0))
    return lowered.cost_analysis()["flops"]


def teacher_flops():
    """Of the teacher's walk, one of whose blocks counts."""

    def walked(params, examples):
        hidden = embed(TEACHER, params["encoder"]["embeddings"], examples)
        return walk(TEACHER, params["encoder"]["layers"], hidden, block_mask(examples), 0, BLOCKS)

    return jax.jit(walked).lower(network(TEACHER, 1), batch()).cost_analysis()["flops"]


@pytest.mark.parametrize(
    ("program", "stage"),
    [(LOCAL, local_stage()), (PAIR, local_stage(gradient="full")), (ALONE, whole_stage(HEADS, weights=()))],
)
def test_the_teacher_walks_once(program, stage):
    one, two, three = (flops(program, stage, students) for students in (1, 2, 3))
    assert two - one == pytest.approx(three - two, rel=0.02)
    assert one - (two - one) > 0.9 * teacher_flops()


def test_the_student_that_left_the_finite_numbers_is_named(tmp_path):
    fine, spoilt = phases("each block")
    spoilt = transfer_phase(
        programs=spoilt.programs,
        plan=spoilt.plan,
        init=functools.partial(poisoned, network(STUDENT, 2), SCALE, 3e38, index=1),
    )
    message = r"step 0 \(stage each block\), student 1 of 2 side by side: the output of layer 1 of the student"
    with pytest.raises(NonFiniteError, match=message):
        run(side_by_side([fine, spoilt]), tmp_path)


def test_a_skipped_step_of_one_is_told_and_the_others_learn(tmp_path, capsys):
    fine, spoilt = phases("distillation", nonfinite_skips=9)
    spoilt = transfer_phase(
        programs=spoilt.programs,
        plan=spoilt.plan,
        nonfinite_skips=9,
        init=functools.partial(poisoned, network(STUDENT, 2), SCALE, 3e38, index=1),
    )
    params = run(side_by_side([fine, spoilt]), tmp_path)
    assert "skipped, 1 of at most 9" in capsys.readouterr().err
    kernel = ("masked_lm", "output_bias")
    changed = [
        np.any(params[kernel[0]][kernel[1]][student] != network(STUDENT, 2)[kernel[0]][kernel[1]]) for student in (0, 1)
    ]
    assert changed == [True, False]
