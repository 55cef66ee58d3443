"""TensorBoard's event files say what metrics.jsonl says, after any restart, without TensorFlow."""

import struct
import subprocess
import sys

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from mobilebert_jax.training.events import EventFile, scalars
from mobilebert_jax.training.metrics import MetricsFile

LINES = [
    {"step": 0, "phase": "t", "heldout": {"masked_lm": 4.0, "hidden": [1.0, 2.0]}},
    {"step": 5, "phase": "t", "stage": "s", "hidden": [1.0, 2.0], "grad_norm": 0.5},
    {"step": 10, "phase": "t", "stage": "s", "hidden": [0.5, 1.0], "grad_norm": 0.25},
]


def events(folder):
    """All events of the one event file in a folder."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def shown(folder):
    """(step, {tag: value}) of every event with scalars."""
    found = [(event.step, {value.tag: value.simple_value for value in event.summary.value}) for event in events(folder)]
    return [(step, values) for step, values in found if values]


def write(folder, restored, lines):
    metrics = MetricsFile(folder / "metrics.jsonl", restored)
    view = EventFile(metrics.path)
    for line in lines:
        metrics.write(line)
        view.write(line)
    view.close()


def test_every_number_of_every_line_is_shown(tmp_path):
    write(tmp_path, 0, LINES)
    assert [step for step, _ in shown(tmp_path)] == [0, 5, 10]
    assert shown(tmp_path)[0][1] == {
        "heldout/masked_lm": 4.0,
        "heldout/hidden/block_0": 1.0,
        "heldout/hidden/block_1": 2.0,
    }
    assert shown(tmp_path)[2][1] == {"hidden/block_0": 0.5, "hidden/block_1": 1.0, "grad_norm": 0.25}


@pytest.mark.parametrize("restored", [0, 5, 7, 10])
def test_a_restart_shows_no_step_twice_and_none_too_few(tmp_path, restored):
    write(tmp_path, 0, LINES)
    write(tmp_path, restored, [line for line in LINES if line["step"] > restored] + [{"step": 15, "grad_norm": 0.125}])
    assert [step for step, _ in shown(tmp_path)] == [0, 5, 10, 15]
    # What a TensorBoard that looks on has seen of the file before is to be forgotten.
    assert [event.step for event in events(tmp_path) if event.session_log.status == SessionLog.START] == [0]


def test_without_a_line_there_is_no_file(tmp_path):
    write(tmp_path, 0, [])
    assert not list(tmp_path.glob("events*"))


def test_words_and_the_step_are_no_scalars():
    assert scalars({"step": 3, "phase": "a", "stage": "b", "loss": 1}) == {"loss": 1.0}


def test_nothing_heavy_is_imported(tmp_path):
    script = (
        "import sys, pathlib; from mobilebert_jax.training.events import EventFile; "
        f"EventFile(pathlib.Path({str(tmp_path)!r}) / 'metrics.jsonl').write({{'step': 1}}); "
        "sys.exit(not {'tensorflow', 'tensorboard', 'matplotlib'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
