"""Steps that are not finite and may be skipped: they change nothing, they are counted, one too many stops."""

import json

import jax
import numpy as np
import pytest

from mobilebert_jax.training import loop
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.phase import Cadence
from mobilebert_jax.training.program import control_at, init_state
from mobilebert_jax.utils.errors import NonFiniteError, Stopped
from tests.training.cases import (
    EVERYTHING,
    LEARNING_RATE,
    OPTIMIZERS,
    TEACHER,
    assert_same_bits,
    batch,
    compiled_step,
    network,
)
from tests.training.phases import run, transfer_phase

CADENCE = Cadence(log=2, evaluate=0, save=1, keep=2)


@pytest.fixture(autouse=True)
def one_compilation(monkeypatch):
    monkeypatch.setattr(loop, "make_step", compiled_step)


def spoil_at(*steps):
    """Spoils the masked-LM labels of the last stage's steps, the inputs of the others."""

    def change(step, examples):
        name = "masked_ids" if step >= 9 else "input_ids"
        return examples | {name: examples[name] + TEACHER.vocab_size} if step in steps else examples

    return change


def logged(folder):
    """(step, skipped) of every training line; no line holds what JSON cannot say."""
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    return [(line["step"], line["skipped"]) for line in read_metrics(folder / "metrics.jsonl") if "skipped" in line]


def test_a_skipped_step_changes_neither_parameters_nor_slots():
    plan = transfer_phase().plan
    student = jax.tree.map(lambda leaf: leaf.copy(), network(loop_student(), 2))
    state = init_state(student, OPTIMIZERS["lamb"], plan.start(3))
    step = compiled_step(EVERYTHING, OPTIMIZERS["lamb"], LEARNING_RATE, 1, 0, 1)
    control = control_at(plan, 3)
    state, metrics = step(state, {}, network(TEACHER, 1), batch(9), control)
    before = jax.tree.map(np.array, (state.trained, state.opt_state))
    state, metrics = step(state, {}, network(TEACHER, 1), spoil_at(10)(10, batch(10)), control)
    assert (bool(metrics["finite"]), bool(metrics["healthy"]), int(metrics["skipped"])) == (False, True, 1)
    assert_same_bits((state.trained, state.opt_state), before)
    assert int(state.step) == 11
    state, metrics = step(state, {}, network(TEACHER, 1), batch(11), control)
    assert bool(metrics["finite"]) and int(metrics["skipped"]) == 1
    assert not np.array_equal(state.trained["masked_lm"]["output_bias"], before[0]["masked_lm"]["output_bias"])
    state, metrics = step(state, {}, network(TEACHER, 1), spoil_at(10)(10, batch(10)), control)
    assert not metrics["healthy"]


def loop_student():
    return transfer_phase().networks["student"][0]


def test_skips_are_counted_over_stages_and_restarts_and_told(tmp_path, capsys):
    """One in the second stage, two in the last; a stop between the two changes nothing."""
    phase = transfer_phase(nonfinite_skips=3, cadence=CADENCE)
    change = spoil_at(4, 9, 10)
    whole = run(phase, tmp_path / "whole", change=change)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "skipped" in line] == [
        "transfer step 4: attention, hidden, mean, variance not finite; skipped, 1 of at most 3",
        "transfer step 9: masked_lm not finite; skipped, 2 of at most 3",
        "transfer step 10: masked_lm not finite; skipped, 3 of at most 3",
    ]
    assert logged(tmp_path / "whole") == [(2, 0), (3, 0), (4, 0), (6, 1), (8, 1), (9, 1), (10, 2), (12, 3)]
    for stop in (5, 10):
        with pytest.raises(Stopped):
            run(phase, tmp_path / "parts", stop_after=stop, change=change)
    assert_same_bits(run(phase, tmp_path / "parts", change=change), whole)
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


def test_one_too_many_stops_also_after_a_restart(tmp_path):
    phase = transfer_phase(nonfinite_skips=1, cadence=CADENCE)
    with pytest.raises(Stopped):
        run(phase, tmp_path, stop_after=6, change=spoil_at(4, 10))
    expected = (
        r"transfer step 10 \(stage everything\) after 1 skipped: .*masked_lm.*; the checkpoint of step 10 is kept"
    )
    with pytest.raises(NonFiniteError, match=expected):
        run(phase, tmp_path, change=spoil_at(4, 10))


def test_a_weight_that_is_no_number_stops_although_every_loss_is_zero(tmp_path):
    def spoil(step, examples):
        weights = np.where(examples["masked_weights"] > 0, np.float32(np.nan), examples["masked_weights"])
        return examples | {"masked_weights": weights} if step == 10 else examples

    with pytest.raises(NonFiniteError, match=r"step 10 .*count of loss term (distillation|masked_lm) is not finite"):
        run(transfer_phase(), tmp_path, change=spoil)
