"""`bench step` measures every part of the loop in every phase, and counts parts as often as the loop does them."""

import dataclasses

import jax
import pytest

from mobilebert_jax.bench import step
from mobilebert_jax.bench.step import PARTS, bench_step, cost_row
from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.cli.main import main
from mobilebert_jax.training import loop
from mobilebert_jax.training.phase import Cadence
from tests.recipes.tiny_run import overrides
from tests.training.cases import compiled_step
from tests.training.phases import alone_phase, run, transfer_phase

SECONDS = {"step": 0.1, "each": 0.001, "log": 0.002, "evaluate": 0.003, "save": 0.004}


@pytest.fixture
def one_compilation(monkeypatch):
    """Runs share their steps' executables."""
    monkeypatch.setattr(loop, "make_step", compiled_step)


@pytest.mark.usefixtures("one_compilation")
@pytest.mark.parametrize("cadence", [Cadence(log=2, evaluate=0, save=5), Cadence(log=0, evaluate=2, save=1)])
def test_parts_are_counted_as_often_as_the_loop_does_them(tmp_path, cadence):
    phase = transfer_phase(cadence=cadence)
    run(phase, tmp_path)
    rows = [cost_row(phase, index, SECONDS) for index in range(len(phase.plan.stages))]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    heldout = sum('"heldout"' in line for line in lines)
    assert sum(row["times"]["log"] for row in rows) == len(lines) - heldout
    assert sum(row["times"]["evaluate"] for row in rows) == heldout - 1  # the one before the first step
    assert sum(row["times"]["each"] for row in rows) == phase.plan.steps


def test_shares_are_of_the_time_of_the_stages_steps():
    phase = dataclasses.replace(alone_phase(), cadence=Cadence(log=2, evaluate=0, save=6))
    row = cost_row(phase, 0, SECONDS)
    assert row["times"] == {"each": 6, "log": 3, "evaluate": 0, "save": 1}
    assert row["shares"] == pytest.approx({"each": 0.01, "log": 0.01, "evaluate": 0.0, "save": 0.004 / 0.6})
    assert row["together"] == pytest.approx(sum(row["shares"].values()))


def test_every_phase_of_a_config_is_measured(tiny_run, monkeypatch):
    monkeypatch.setattr(step, "peak_flops", lambda kind: 1e12)
    small = overrides(tiny_run.folder / "corpus.txt", "")
    words = [word.removeprefix("--config.") for word in small] + ["transfer.strategy=none"]
    shown = []
    report = bench_step(load_config("demo", words), repeats=1, show=shown.append)
    assert report["rows"] == shown
    shares, seconds = zip(*((row["together"], row["seconds"]["step"] * row["steps"]) for row in shown), strict=True)
    expected = sum(a * b for a, b in zip(shares, seconds, strict=True)) / sum(seconds)
    assert report["together"] == pytest.approx(expected)
    assert [row["phase"] for row in shown] == ["teacher", "distill"]
    for row in shown:
        assert set(row["seconds"]) == set(PARTS)
        assert all(row["seconds"][part] > 0 for part in PARTS if part != "save") and row["seconds"]["save"] >= 0
        spread = row["step_seconds"]
        assert 0 < spread["median"] <= spread["p95"] <= spread["max"]
        # A batch is 4 rows of 32 tokens, some of them padding; step by step as in the windows.
        assert row["examples_per_second"] < row["tokens_per_second"] < 32 * row["examples_per_second"]
        assert row["examples_per_second"] == pytest.approx(4 / row["seconds"]["step"], rel=0.5)
        assert row["mfu"] == pytest.approx(row["flops_per_second"] / 1e12 / jax.device_count())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["step", "--repeats=0"], "--repeats=0: must be at least 1"),
        (["step", "--config=nowhere.py"], "--config=nowhere.py: no such file"),
        (["step", "--config.data.corpus=nowhere.txt"], "nowhere.txt"),
        (["sleep"], "invalid choice: 'sleep'"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(words, message, capsys):
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
