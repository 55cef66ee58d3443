"""TensorBoard's view of metrics.jsonl, through tensorboardX; no TensorFlow.

metrics.jsonl is the truth: a run that goes on writes the event file anew from it, so that TensorBoard shows no step
twice and none is missing after a kill. Written in the loop's own thread: a full disk stops the run like any other.
"""

import time
from pathlib import Path
from typing import Any

from mobilebert_jax.training.metrics import read_metrics


class EventFile:
    """`events.out.tfevents.*` beside a metrics.jsonl, opened with the first line written."""

    def __init__(self, metrics: str | Path):
        self._metrics = Path(metrics)
        self._writer = None

    def write(self, line: dict[str, Any]) -> None:
        """Shows a line that metrics.jsonl has already."""
        if self._writer is None:
            self._begin()
        else:
            self._add(line)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file, if there is one."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = self._metrics.parent
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
        self._writer = EventsWriter(str(folder / "events"))
        # A TensorBoard that looks on forgets from this step what it has seen in the file before.
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=0, session_log=start))
        for line in read_metrics(self._metrics):
            self._add(line)

    def _add(self, line: dict[str, Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(line).items()]
        self._writer.write_event(Event(wall_time=time.time(), step=line["step"], summary=Summary(value=values)))


def scalars(line: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """A line's numbers: `heldout/masked_lm` for what is nested, `hidden/block_3` for a list's, `hidden/1/block_3`."""
    flat = {}
    for name, value in line.items():
        if isinstance(value, dict):
            flat |= scalars(value, f"{prefix}{name}/")
        elif isinstance(value, list) and value and isinstance(value[0], list):
            flat |= scalars({str(index): each for index, each in enumerate(value)}, f"{prefix}{name}/")
        elif isinstance(value, list):
            flat |= {f"{prefix}{name}/block_{index}": float(each) for index, each in enumerate(value)}
        elif isinstance(value, (int, float)) and name != "step":
            flat[prefix + name] = float(value)
    return flat
