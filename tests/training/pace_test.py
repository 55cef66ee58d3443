import pytest

from mobilebert_jax.training import pace
from mobilebert_jax.training.pace import Pace, Work


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now[0])
    return now


def test_rates_count_training_time_and_real_tokens_alone(clock):
    measured = Pace()
    for _ in range(2):
        measured.add(4, 20, waited=0.5)
    with measured.paused():
        clock[0] += 50
    clock[0] += 4
    assert measured.take() == {"examples_per_second": 2.0, "tokens_per_second": 10.0}
    assert (measured.seconds_per_step, measured.waiting) == (2.0, 0.25)
    assert str(measured) == "2 ex/s, 10 tok/s, data wait 25%"


def test_take_starts_over(clock):
    measured = Pace()
    measured.add(4, 20, waited=1.0)
    clock[0] += 4
    measured.take()
    measured.add(4, 20, waited=0.0)
    clock[0] += 1
    assert measured.take() == {"examples_per_second": 4.0, "tokens_per_second": 20.0}
    assert measured.waiting == 0


def test_the_time_left_counts_cheap_and_dear_stages_and_what_comes_after_the_phase():
    work = Work(((10, 1.0), (10, 3.0), (5, 2.0)), later=50.0)
    # A step of the second stage takes 6 s, so a unit of work takes 2.
    assert work.left(1, 4, seconds_per_step=6.0) == {"stage": 24.0, "phase": 44.0, "run": 144.0}
    assert work.left(2, 0, seconds_per_step=4.0) == {"stage": 0.0, "phase": 0.0, "run": 100.0}


def test_what_is_the_same_is_said_once():
    assert Work(((10, 7.0),)).left(0, 5, seconds_per_step=2.0) == {"phase": 10.0}
    assert Work(((10, 7.0),), later=70.0).left(0, 5, seconds_per_step=2.0) == {"phase": 10.0, "run": 30.0}
