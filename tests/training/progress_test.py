import contextlib
import io

from mobilebert_jax.training.pace import Pace
from mobilebert_jax.training.progress import Progress, say

MEANS = {"hidden": [1.0, 2.0], "grad_norm": 0.5, "data_wait": 0.1, "learning_rate": 0.001}
LEFT = {"stage": 65.0, "phase": 3661.0, "run": 7322.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, phase="transfer", stage="block 1"):
    """What a phase prints to such a stderr."""
    with contextlib.redirect_stderr(stream), Progress(phase, 20, 3) as progress:
        progress.stage(stage)
        progress.advance()
        progress.show(4, stage, MEANS, Pace(), LEFT)
        say("a line between")
    return stream.getvalue()


def test_without_a_terminal_there_are_plain_lines_alone():
    line = "transfer step 4/20 block 1: hidden 1.5, grad_norm 0.5; 0 ex/s, 0 tok/s, step 0 ms (p95 0), data wait 0%; "
    line += "left: "
    assert shown(io.StringIO()) == f"{line}stage 01:05, phase 1:01:01, run 2:02:02\na line between\n"


def test_a_terminal_shows_phase_stage_step_terms_pace_and_time_left():
    text = shown(Terminal())
    for part in (
        "transfer: block 1",
        "4/20",
        "  hidden 1.5, grad_norm 0.5",
        "  0 ex/s, 0 tok/s, step 0 ms (p95 0), data wait 0%; left: stage 01:05, phase 1:01:01, run 2:02:02",
        "a line between\n",
    ):
        assert part in text, part
    assert "learning_rate" not in text


def test_a_stage_called_like_its_phase_is_named_once():
    assert "teacher: teacher" not in shown(Terminal(), "teacher", "teacher")
