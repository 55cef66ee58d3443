import pytest

from mobilebert_jax.parallel.chips import peak_flops
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
    found = measured.take()
    assert (found["examples_per_second"], found["tokens_per_second"]) == (2.0, 10.0)
    assert (measured.seconds_per_step, measured.waiting) == (2.0, 0.25)
    assert str(measured) == "2 ex/s, 10 tok/s, step 2,000 ms (p95 3,800), data wait 25%"


def test_take_starts_over(clock):
    measured = Pace()
    measured.add(4, 20, waited=1.0)
    clock[0] += 4
    measured.take()
    measured.add(4, 20, waited=0.0)
    clock[0] += 1
    found = measured.take()
    assert (found["examples_per_second"], found["tokens_per_second"]) == (4.0, 20.0)
    assert measured.waiting == 0


def test_the_time_left_counts_cheap_and_dear_stages_and_what_comes_after_the_phase():
    work = Work(((10, 1.0), (10, 3.0), (5, 2.0)), later=50.0)
    # A step of the second stage takes 6 s, so a unit of work takes 2.
    assert work.left(1, 4, seconds_per_step=6.0) == {"stage": 24.0, "phase": 44.0, "run": 144.0}
    assert work.left(2, 0, seconds_per_step=4.0) == {"stage": 0.0, "phase": 0.0, "run": 100.0}


def test_what_is_the_same_is_said_once():
    assert Work(((10, 7.0),)).left(0, 5, seconds_per_step=2.0) == {"phase": 10.0}
    assert Work(((10, 7.0),), later=70.0).left(0, 5, seconds_per_step=2.0) == {"phase": 10.0, "run": 30.0}


def test_a_step_ends_where_the_next_one_is_counted(clock):
    measured = Pace()
    for seconds in (0.1, 1.9, 3.0):  # to begin the first step, then until the first and the second are done
        clock[0] += seconds
        measured.add(4, 20, waited=0.0)
    clock[0] += 9
    assert measured.take()["step_seconds"] == {"median": 3.0, "p95": pytest.approx(8.4), "max": 9.0}
    assert "step 3,000 ms (p95 8,400)" in str(measured)


def test_a_line_of_one_step_says_how_long_it_took_and_not_how_long_to_begin(clock):
    measured = Pace()
    clock[0] += 0.5
    measured.add(4, 20, waited=0.0)
    clock[0] += 4.5
    assert measured.take()["step_seconds"] == {"median": 5.0, "p95": 5.0, "max": 5.0}


def test_the_spread_of_the_steps_leaves_pauses_out(clock):
    measured = Pace()
    for seconds in (0.0, 1.0, 2.0):
        clock[0] += seconds
        with measured.paused():
            clock[0] += 100
        measured.add(4, 20, waited=0.0)
    clock[0] += 9
    assert measured.take()["step_seconds"] == {"median": 2.0, "p95": pytest.approx(8.3), "max": 9.0}
    assert "step 2,000 ms (p95 8,300)" in str(measured)
    clock[0] += 5
    measured.add(4, 20, waited=0.0)
    assert measured.take()["step_seconds"] == {"median": 5.0, "p95": 5.0, "max": 5.0}


def test_without_a_step_there_is_no_spread(clock):
    measured = Pace()
    clock[0] += 3
    assert measured.take()["step_seconds"] == {"median": 0.0, "p95": 0.0, "max": 0.0}


def test_what_steps_used_is_written_and_shown(clock):
    measured = Pace()
    measured.add(4, 20, waited=0.0)
    clock[0] += 2
    assert measured.take(lambda seconds: {"mfu": seconds / 5})["mfu"] == 0.4
    assert ", MFU 40.0%, step" in str(measured)


def test_utilization_is_the_share_of_the_peak_that_the_work_takes():
    work = Work(((10, 3e12), (10, 6e12)), counted=True)
    assert work.utilization(1, 24e12, 2.0) == {"mfu": 0.25}
    assert work.utilization(0, None, 2.0) == {}
    assert Work(((10, 1.0),)).utilization(0, 24e12, 2.0) == {}


@pytest.mark.parametrize(
    ("kind", "peak"),
    [("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("TPU v5 lite", 197e12), ("cpu", None)],
)
def test_peaks_are_known_by_the_device_s_name(kind, peak):
    assert peak_flops(kind) == peak
