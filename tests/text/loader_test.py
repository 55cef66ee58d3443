import threading
import time

import numpy as np
import pytest

from mobilebert_jax.text.loader import iterate


def make_batch(step):
    return {"step": np.full(2, step)}


@pytest.mark.parametrize(("threads", "prefetch"), [(1, 2), (3, 1), (2, 8)])
def test_batches_come_in_order_from_start_to_stop(threads, prefetch):
    def uneven(step):
        time.sleep(0.002 * (step % 3))
        return make_batch(step)

    batches = list(iterate(uneven, 5, 25, threads=threads, prefetch=prefetch))
    assert [batch["step"].tolist() for batch in batches] == [[step, step] for step in range(5, 25)]


def test_an_empty_range_has_no_batches():
    assert list(iterate(make_batch, 7, 7)) == []


def test_errors_surface_after_the_batches_before_them():
    def failing(step):
        if step == 3:
            raise ValueError("bad batch")
        return make_batch(step)

    steps = []
    with pytest.raises(ValueError, match="bad batch"):
        for batch in iterate(failing, 0, 10):
            steps.append(batch["step"][0])
    assert steps == [0, 1, 2]


def test_only_a_few_batches_are_made_ahead():
    made = []

    def recording(step):
        made.append(step)
        return make_batch(step)

    batches = iterate(recording, 0, 1000, prefetch=2)
    next(batches)
    time.sleep(0.1)
    batches.close()
    assert len(made) <= 6


def test_closing_early_ends_the_threads():
    before = set(threading.enumerate())
    batches = iterate(make_batch, 0, 10**9, threads=2)
    next(batches)
    started = set(threading.enumerate()) - before
    assert started
    batches.close()
    for thread in started:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in started)
