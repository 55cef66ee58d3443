"""Recorded steps: which, of which phase, and that there is a recording of them afterwards."""

import pytest

from mobilebert_jax.training.loop import run_phase
from mobilebert_jax.training.trace import Traced
from mobilebert_jax.utils.errors import Stopped, UserError
from tests.training.phases import Feed, alone_phase


@pytest.mark.parametrize(
    ("text", "phase", "step", "steps"),
    [
        ("10", "teacher", 0, (3, 12)),
        ("10", "distill", 500, (503, 512)),
        ("distill:7-9", "distill", 0, (7, 9)),
        ("distill:7-9", "distill", 8, (7, 9)),
        ("distill:7-9", "distill", 9, None),
        ("distill:7-9", "teacher", 0, None),
        ("distill:7-7", "distill", 0, (7, 7)),
    ],
)
def test_which_steps_are_meant(text, phase, step, steps):
    assert Traced.parse(text).steps_of(phase, step) == steps


@pytest.mark.parametrize("text", ["0", "-1", "ten", "distill", "distill:9", "distill:9-7", "distill:0-7", "1.5", "7-9"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(UserError, match=rf"--profile={text}: give a number of steps, such as 10, or PHASE:FIRST-LAST"):
        Traced.parse(text)


def recordings(folder):
    return list((folder / "profile").rglob("*.xplane.pb"))


def test_the_steps_are_recorded_and_nothing_else_is(tmp_path, capsys):
    phase = alone_phase()
    run_phase(phase, tmp_path, Feed(), traced=Traced.parse("pretraining:3-4"))
    assert "pretraining: steps 3 to 4 are recorded in" in capsys.readouterr().err
    (recording,) = recordings(tmp_path)
    assert b"pretraining" in recording.read_bytes()
    run_phase(phase, tmp_path / "other", Feed(), traced=Traced.parse("distill:3-4"))
    assert not (tmp_path / "other" / "profile").exists()


def test_a_stop_writes_what_there_is(tmp_path, capsys):
    feed = Feed(stop_after=4)
    with pytest.raises(Stopped):
        run_phase(alone_phase(batches=feed), tmp_path, feed, traced=Traced.parse("3"))
    assert "pretraining: steps 3 to 4 are recorded in" in capsys.readouterr().err
    assert recordings(tmp_path)
