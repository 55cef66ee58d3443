import json

import jax.numpy as jnp
import pytest

from mobilebert_jax.training.metrics import Means, MetricsFile, read_metrics

LINES = [{"step": 0, "heldout": {"masked_lm": 4.0}}, {"step": 5, "loss": [1.0, 2.0]}, {"step": 10, "loss": [0.5, 1.0]}]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "metrics.jsonl"


def test_lines_come_back_as_they_were_written(path):
    metrics = MetricsFile(path, 0)
    assert read_metrics(path) == []
    for line in LINES:
        metrics.write(line)
    assert read_metrics(path) == LINES


@pytest.mark.parametrize("restored, kept", [(0, 1), (4, 1), (5, 2), (9, 2), (10, 3), (99, 3)])
def test_a_restart_cuts_back_to_the_restored_step(path, restored, kept):
    metrics = MetricsFile(path, 99)
    for line in LINES:
        metrics.write(line)
    MetricsFile(path, restored).write({"step": restored + 1})
    assert read_metrics(path) == [*LINES[:kept], {"step": restored + 1}]


def test_a_line_that_a_kill_cut_short_is_left_out(path):
    MetricsFile(path, 0).write(LINES[0])
    with open(path, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(LINES[1])[:-4])
    assert read_metrics(path) == LINES[:1]
    MetricsFile(path, 5).write(LINES[2])
    assert read_metrics(path) == [LINES[0], LINES[2]]


def test_no_file_holds_no_lines(path):
    assert read_metrics(path) == []


def test_means_are_over_the_steps_since_they_were_last_taken():
    means = Means()
    means.add({"loss": jnp.float32(1.0), "layers": jnp.float32([1.0, 3.0]), "finite": jnp.bool_(True)})
    means.add({"loss": 2.0, "layers": jnp.float32([2.0, 5.0]), "finite": jnp.bool_(True)})
    assert means.take() == {"loss": 1.5, "layers": [1.5, 4.0]}
    assert means.take() == {}
    means.add({"loss": 7.0})
    assert means.take() == {"loss": 7.0}


def test_a_step_that_was_not_finite_does_not_reach_the_means():
    means = Means()
    for loss, finite in ((1.0, True), (jnp.nan, False), (4.0, True)):
        means.add({"loss": jnp.float32(loss), "finite": jnp.bool_(finite)})
    assert means.take() == {"loss": 2.5}
    means.add({"loss": jnp.float32(jnp.nan), "finite": jnp.bool_(False)})
    assert means.take() == {}


def test_pending_means_go_on_exactly_where_they_were():
    steps = [{"loss": jnp.float32(1 / 3), "layers": jnp.float32([0.1, 0.7])}, {"loss": 2.0, "layers": [1.0, 1e-9]}]
    whole, first = Means(), Means()
    for each in steps:
        whole.add(each)
    first.add(steps[0])
    second = Means(json.loads(json.dumps(first.pending())))
    second.add(steps[1])
    assert second.take() == whole.take()
    assert whole.pending() == second.pending() == {}
