"""A run's account of its time: every second in one kind, what is made anew lost, through kills and restarts."""

import pytest

from mobilebert_jax.training import time_spent
from mobilebert_jax.training.time_spent import NAME, TimeSpent, describe, goodput, read_time, summed


class Clock:
    """Both of the module's clocks; `pass_` lets time go by."""

    def __init__(self):
        self.now = 1000.0

    def pass_(self, seconds):
        self.now += seconds

    def monotonic(self):
        return self.now

    def time(self):
        return 5e5 + self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time_spent, "time", clock)
    return clock


def sums(path):
    """Those that are not 0."""
    return {kind: seconds for kind, seconds in summed(read_time(path)).items() if seconds}


def train(spent, clock, until, seconds=1.0, phase="teacher"):
    """A second a step, a tenth of it waiting."""
    with spent.spending("step"):
        clock.pass_(0.9 * seconds)
        with spent.spending("data"):
            clock.pass_(0.1 * seconds)
    spent.write(phase, until)


def test_each_moment_is_of_the_innermost_kind(clock, tmp_path):
    spent = TimeSpent(tmp_path / NAME, since=clock.now - 2)
    clock.pass_(1)
    with spent.spending("step"):
        clock.pass_(10)
        with spent.spending("evaluate"):
            clock.pass_(5)
        clock.pass_(2)
    spent.write("teacher", 12)
    assert sums(tmp_path / NAME) == {"init": 3, "evaluate": 5, "step": 12}
    assert spent.goodput() == {"goodput": 12 / 20}


def test_an_error_ends_what_was_going_on(clock):
    spent = TimeSpent()
    with pytest.raises(KeyError), spent.spending("compile"):
        clock.pass_(1)
        raise KeyError
    clock.pass_(3)
    spent.write()
    assert str(spent) == "00:04: init 75.0%, compile 25.0%, step 0.0%"


def test_what_a_kill_makes_the_run_make_again_is_lost(clock, tmp_path):
    spent = TimeSpent(tmp_path / NAME)
    spent.resume("teacher", 0)
    train(spent, clock, 100, 10)
    train(spent, clock, 200, 20)
    train(spent, clock, 300, 40)
    clock.pass_(60)  # killed, and there again a minute later
    spent = TimeSpent(tmp_path / NAME)
    clock.pass_(5)
    spent.resume("teacher", 150)  # half of the second line and the third
    train(spent, clock, 300, 30)
    found = sums(tmp_path / NAME)
    assert found == pytest.approx({"init": 5, "step": 45, "data": 5, "lost": 50, "away": 60})
    assert goodput(found) == pytest.approx(45 / 105)


def test_what_was_lost_once_is_not_lost_again(clock, tmp_path):
    for _ in range(3):
        spent = TimeSpent(tmp_path / NAME)
        spent.resume("teacher", 0)
        train(spent, clock, 100, 10)
    assert sums(tmp_path / NAME) == pytest.approx({"step": 9, "data": 1, "lost": 20})


def test_phases_do_not_lose_each_others_steps(clock, tmp_path):
    spent = TimeSpent(tmp_path / NAME)
    for phase in ("teacher", "distill"):
        spent.resume(phase, 0)
        train(spent, clock, 100, 10, phase)
    assert sums(tmp_path / NAME) == pytest.approx({"step": 18, "data": 2})


def test_a_run_that_stopped_where_it_saved_loses_nothing(clock, tmp_path):
    spent = TimeSpent(tmp_path / NAME)
    spent.resume("teacher", 0)
    train(spent, clock, 57, 10)
    spent.write()
    again = TimeSpent(tmp_path / NAME)
    again.resume("teacher", 57)
    train(again, clock, 100, 10)
    assert sums(tmp_path / NAME) == pytest.approx({"step": 18, "data": 2})


def test_a_line_that_a_kill_has_cut_short_harms_no_other(clock, tmp_path):
    spent = TimeSpent(tmp_path / NAME)
    train(spent, clock, 100, 10)
    with open(tmp_path / NAME, "a") as handle:
        handle.write('{"at": 17, "seco')
    train(TimeSpent(tmp_path / NAME), clock, 200, 10)
    assert sums(tmp_path / NAME) == pytest.approx({"step": 18, "data": 2})


def test_a_process_that_never_writes_leaves_the_file_as_it_is(clock, tmp_path):
    assert not TimeSpent(tmp_path / NAME).written
    assert not (tmp_path / NAME).exists()


def test_one_line_says_it():
    seconds = dict.fromkeys(time_spent.KINDS, 0.0) | {"step": 90.0, "compile": 9.96, "data": 0.04, "away": 7.0}
    assert describe(seconds) == "01:40, and away 00:07: compile 10.0%, step 90.0%"
