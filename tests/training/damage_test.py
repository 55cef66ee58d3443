"""Checkpoints that a disk or a hand has damaged: the one before serves, and the run says so."""

import shutil

import jax
import jax.numpy as jnp
import pytest

from mobilebert_jax.training import loop
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.utils.errors import Stopped, UserError
from tests.training.cases import assert_same_bits, compiled_step
from tests.training.phases import run, transfer_phase

PARAMS = {"kernel": jnp.arange(9000, dtype=jnp.float32)}


def truncate(folder):
    """Every larger file loses its second half."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_arrays(folder):
    shutil.rmtree(folder / "state" / "ocdbt.process_0")


def lose_meta(folder):
    shutil.rmtree(folder / "meta")


def empty_meta(folder):
    (folder / "meta" / "metadata").write_bytes(b"")


def flip_a_bit(folder):
    """In the middle of the largest file, where the arrays are."""
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def saved(tmp_path):
    """A folder with the checkpoints of steps 1, 2 and 3."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step, PARAMS, {}, {"step": step})
    checkpoints.close()
    return tmp_path / "checkpoints"


def newest(folder):
    """(what `restore_newest` returns, warnings, steps that are left)."""
    warnings, checkpoints = [], Checkpoints(folder, keep=3)
    try:
        return checkpoints.restore_newest(lambda meta: (jax.eval_shape(lambda: PARAMS), {}), warnings.append), warnings
    finally:
        checkpoints.close()


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, lose_arrays, lose_meta, empty_meta])
def test_the_one_before_serves_and_the_damaged_one_is_named_and_removed(saved, damage):
    damage(saved / "3")
    (step, meta, params, _), warnings = newest(saved)
    assert (step, meta) == (2, {"step": 2})
    assert_same_bits(params, PARAMS)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{saved}/3: damaged (") and warnings[0].endswith("); going on from step 2")
    assert {path.name for path in saved.iterdir()} == {"1", "2"}


def test_two_damaged_ones_are_passed_over(saved):
    truncate(saved / "3")
    lose_meta(saved / "2")
    (step, _, _, _), warnings = newest(saved)
    assert step == 1 and len(warnings) == 2


def test_nothing_is_said_or_removed_where_all_is_well(saved):
    (step, _, _, _), warnings = newest(saved)
    assert step == 3 and not warnings
    assert {path.name for path in saved.iterdir()} == {"1", "2", "3"}


def test_when_none_can_be_read_all_are_named_and_left(saved):
    for step in (1, 2, 3):
        truncate(saved / str(step))
    with pytest.raises(UserError, match=rf"^{saved}: no checkpoint there can be read \(steps 3, 2, 1: .*delete the f"):
        newest(saved)
    assert {path.name for path in saved.iterdir()} == {"1", "2", "3"}


def test_a_run_goes_on_from_the_one_before_to_the_same_bits_and_the_same_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "make_step", compiled_step)
    whole = run(transfer_phase(), tmp_path / "whole")
    with pytest.raises(Stopped):
        run(transfer_phase(), tmp_path / "parts", stop_after=8)
    truncate(tmp_path / "parts" / "checkpoints" / "8")
    capsys.readouterr()
    assert_same_bits(run(transfer_phase(), tmp_path / "parts"), whole)
    assert "checkpoints/8: damaged (" in capsys.readouterr().err.splitlines()[0]
    logs = [[line["step"] for line in read_metrics(tmp_path / name / "metrics.jsonl")] for name in ("whole", "parts")]
    assert logs[0] == logs[1]
