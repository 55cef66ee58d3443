import numpy as np
import pytest

from mobilebert_jax.training import pace
from mobilebert_jax.training.pace import Pace

BATCH = {"input_ids": np.ones((4, 8), int), "attention_mask": np.array([[1] * 5 + [0] * 3] * 4)}


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now[0])
    return now


def test_rates_count_training_time_and_real_tokens_alone(clock):
    measured = Pace()
    for _ in range(2):
        measured.add(BATCH, waited=0.5)
    with measured.paused():
        clock[0] += 50
    clock[0] += 4
    assert measured.take() == {"examples_per_second": 2.0, "tokens_per_second": 10.0}
    assert (measured.seconds_per_step, measured.waiting) == (2.0, 0.25)
    assert measured.left(100) == "03:20"


def test_take_starts_over(clock):
    measured = Pace()
    measured.add(BATCH, waited=1.0)
    clock[0] += 4
    measured.take()
    measured.add(BATCH, waited=0.0)
    clock[0] += 1
    assert measured.take() == {"examples_per_second": 4.0, "tokens_per_second": 20.0}
    assert measured.waiting == 0
