"""metrics.jsonl: one line a logged step, cut back to the restored step on restart."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mobilebert_jax.utils.files import read_json_lines, write_text


class MetricsFile:
    """An append-only JSON-lines file whose every line has a `step`.

    Lines after `restored_step` are removed; None: the file is another process', and stays as it is.
    """

    def __init__(self, path: str | Path, restored_step: int | None):
        self.path = Path(path)
        if restored_step is None:
            return
        write_metrics(self.path, [line for line in read_metrics(self.path) if line["step"] <= restored_step])

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line."""
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """All whole lines of a metrics file; [] without a file."""
    return read_json_lines(path)


def write_metrics(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """A metrics file of these lines, in the place of any that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def step_seconds(lines: Iterable[dict[str, Any]], batch_size: int) -> float | None:
    """Seconds that the logged steps took, without compiling, saving and evaluation.

    `lines`: those with means over training steps. None where one says no rate, or nothing was logged.
    """
    total, before = 0.0, 0
    for line in lines:
        if not line.get("examples_per_second"):
            return None
        total += (line["step"] - before) * batch_size / line["examples_per_second"]
        before = line["step"]
    return total or None


class Means:
    """Means of step metrics since the last `take`; a step whose `finite` is False does not count.

    A step's numbers are read when the next step's are added, so that the device never waits for the host. `pending` is
    what another one's `pending` has returned.
    """

    def __init__(self, pending: dict[str, Any] | None = None):
        pending = pending or {"counted": 0, "sums": {}}
        self._sums = {name: np.asarray(value, np.float64) for name, value in pending["sums"].items()}
        self._unread: dict[str, Any] = {}
        self._counted: int = pending["counted"]

    def add(self, metrics: dict[str, Any]) -> None:
        """Adds one step's metrics, scalars or [L] vectors."""
        self._read()
        self._unread = metrics

    def _read(self) -> None:
        metrics, self._unread = jax.device_get(self._unread), {}
        if not metrics or not np.all(metrics.pop("finite", True)):
            return
        self._counted += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + np.asarray(value, np.float64)

    def take(self) -> dict[str, Any]:
        """The means as plain floats or lists, {} where no step counted, and starts over."""
        self._read()
        means = {name: (value / self._counted).tolist() for name, value in self._sums.items()}
        self._sums, self._counted = {}, 0
        return means

    def pending(self) -> dict[str, Any]:
        """What has been added since the last `take`, exactly, as JSON can keep it; {} when nothing has."""
        self._read()
        sums = {name: value.tolist() for name, value in self._sums.items()}
        return {"counted": self._counted, "sums": sums} if self._counted else {}
