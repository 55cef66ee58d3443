import jax.numpy as jnp
import numpy as np
import psutil
import pytest

from mobilebert_jax.training import memory
from mobilebert_jax.training.feed import Fed
from mobilebert_jax.training.memory import memory_in_use
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.record import Record

FED = Fed.of({"input_ids": np.ones((4, 8), int), "attention_mask": np.ones((4, 8), int)})


def step_metrics(loss):
    flags = {"finite": jnp.bool_(True), "healthy": jnp.bool_(True), "skipped": jnp.int32(0)}
    return {"loss": jnp.float32(loss), **flags}


@pytest.fixture
def record(tmp_path):
    record = Record(tmp_path, "teacher", 0)
    yield record
    record.close()


def test_a_line_has_means_pace_seconds_memory_and_no_flags(record, tmp_path):
    for loss in (1.0, 2.0):
        record.add(step_metrics(loss), FED, waited=0.25)
    assert record.log(2, "all of it", skipped=1) == {"loss": 1.5, "data_wait": 0.25}
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert (line["step"], line["phase"], line["stage"], line["loss"], line["skipped"]) == (
        2,
        "teacher",
        "all of it",
        1.5,
        1,
    )
    assert line["tokens_per_second"] == pytest.approx(8 * line["examples_per_second"])
    assert line["seconds"] >= 0 and line["memory"]["host"] > 2**20
    assert not {"finite", "healthy"} & line.keys()


def test_lines_of_lost_steps_go_and_their_means_are_made_again(record, tmp_path):
    record.add(step_metrics(1.0), FED, 0.0)
    unlogged = record.unlogged()
    record.add(step_metrics(9.0), FED, 0.0)
    record.log(2, "a")
    again = Record(tmp_path, "teacher", 1, unlogged)
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    again.add(step_metrics(2.0), FED, 0.0)
    assert again.log(2, "a")["loss"] == 1.5
    again.close()


def test_held_out_figures_are_known_by_their_step(record):
    record.log_heldout(4, {"masked_lm": 1.0})
    assert record.is_evaluated(4) and not record.is_evaluated(5)


def test_memory_is_the_processs_own_and_the_fullest_devices_peak(monkeypatch):
    assert memory_in_use().keys() == {"host"} or "device" in memory_in_use()
    assert memory_in_use()["host"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)

    class Device:
        def __init__(self, peak):
            self.peak = peak

        def memory_stats(self):
            return self.peak and {"peak_bytes_in_use": self.peak}

    monkeypatch.setattr(memory.jax, "local_devices", lambda: [Device(5), Device(9), Device(None)])
    assert memory_in_use()["device"] == 9
