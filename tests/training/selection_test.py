"""What hears of evaluations and may end a phase."""

import pytest

from mobilebert_jax.training import loop
from mobilebert_jax.training.metrics import read_metrics
from tests.training.cases import assert_same_bits, compiled_step
from tests.training.phases import alone_phase, key_sum, run


@pytest.fixture(autouse=True)
def one_compilation(monkeypatch):
    """Both runs share their step's executable."""
    monkeypatch.setattr(loop, "make_step", compiled_step)


class EndsAt:
    """Ends the phase once the line of that step is written; notes what it hears."""

    def __init__(self, folder, step):
        self.folder, self.step, self.heard = folder, step, []

    def lines(self):
        return [line["step"] for line in read_metrics(self.folder / "metrics.jsonl") if "heldout" in line]

    def keep(self, step, params, figures):
        assert figures == key_sum(params, lambda: False)
        assert step not in self.lines()
        self.heard.append(step)

    def ended(self):
        return self.step in self.lines()


def test_a_phase_ends_where_its_figures_say_and_stays_ended(tmp_path):
    selection = EndsAt(tmp_path, 4)
    phase = alone_phase(evaluate=key_sum, selection=selection)
    params = run(phase, tmp_path)
    assert selection.heard == [0, 2, 4] == selection.lines()
    again = run(phase, tmp_path)
    assert selection.heard == [0, 2, 4]
    assert_same_bits(again, params)


def test_a_phase_that_is_not_ended_makes_all_its_steps(tmp_path):
    selection = EndsAt(tmp_path, 5)
    run(alone_phase(evaluate=key_sum, selection=selection), tmp_path)
    assert selection.heard == [0, 2, 4, 6]
