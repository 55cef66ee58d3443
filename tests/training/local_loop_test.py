"""Local transfer in the loop: stopped or cut off anywhere it ends in the same bits, and names the block at fault."""

import functools

import pytest

from mobilebert_jax.training import loop
from mobilebert_jax.training.local import LocalProgram
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.utils.errors import NonFiniteError, Stopped
from tests.recipes.kill_run import MAY_DIFFER
from tests.training.cases import (
    BLOCKS,
    COEFFICIENTS,
    PAIR,
    STUDENT,
    TRANSFER,
    assert_same_bits,
    compiled_step,
    local_stage,
    network,
)
from tests.training.nonfinite_test import SCALE, poisoned
from tests.training.phases import run, transfer_phase

PROGRAM = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True, gated=True, feeds=True)
STAGES = (
    local_stage(steps=4, inputs="teacher", fed=(1.0, 0.0), block_spans=((0, 2), (0, 4), (1, 4))),
    local_stage(steps=2, gradient="full"),
)


@pytest.fixture(autouse=True)
def one_compilation(monkeypatch):
    monkeypatch.setattr(loop, "make_step", compiled_step)


def phase(**changes):
    """Four local steps, the teacher feeding ever fewer blocks, then two joint ones; saved at every other step."""
    return transfer_phase(plan=Plan(STAGES), programs=(PROGRAM, PAIR), **changes)


def log(folder):
    lines = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in MAY_DIFFER} for line in lines]


def test_a_stopped_and_a_cut_off_run_end_in_the_same_bits_and_the_same_log(tmp_path):
    whole = run(phase(), tmp_path / "whole")
    with pytest.raises(Stopped):
        run(phase(), tmp_path / "parts", stop_after=1)
    with pytest.raises(KeyError, match="power cut"):
        run(phase(), tmp_path / "parts", break_at=3)
    with pytest.raises(Stopped):
        run(phase(), tmp_path / "parts", stop_after=4)
    assert_same_bits(run(phase(), tmp_path / "parts"), whole)
    assert log(tmp_path / "parts") == log(tmp_path / "whole")
    logged = [line for line in log(tmp_path / "whole") if "hidden" in line]
    assert [line["stage"] for line in logged] == ["each block"] * 6
    assert all(len(line["hidden"]) == BLOCKS for line in logged) and len(logged[0]["grad_norm"]) == BLOCKS


def test_the_block_that_left_the_finite_numbers_is_named(tmp_path):
    spoilt = functools.partial(poisoned, network(STUDENT, 2), SCALE, 3e38, index=1)
    with pytest.raises(NonFiniteError, match=r"step 0 \(stage each block\): the output of layer 1 of the student"):
        run(phase(init=spoilt), tmp_path)
