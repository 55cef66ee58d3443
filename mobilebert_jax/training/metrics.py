"""metrics.jsonl: one line a logged step, cut back to the restored step on restart."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mobilebert_jax.utils.files import read_json_lines, write_text


class MetricsFile:
    """An append-only JSON-lines file whose every line has a `step`."""

    def __init__(self, path: str | Path, restored_step: int):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_metrics(self.path) if line["step"] <= restored_step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, line: dict[str, Any]) -> None:
        """Appends one line."""
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """All whole lines of a metrics file; [] without a file."""
    return read_json_lines(path)


class Means:
    """Means of step metrics since the last `take`.

    A step's numbers are read when the next step's are added, so that the device never waits for the host.
    """

    def __init__(self):
        self._sums: dict[str, np.ndarray] = {}
        self._unread: dict[str, Any] = {}
        self.steps = 0

    def add(self, metrics: dict[str, Any]) -> None:
        """Adds one step's metrics, scalars or [L] vectors."""
        self._read()
        self._unread = metrics
        self.steps += 1

    def _read(self) -> None:
        for name, value in jax.device_get(self._unread).items():
            self._sums[name] = self._sums.get(name, 0.0) + np.asarray(value, np.float64)
        self._unread = {}

    def take(self) -> dict[str, Any]:
        """The means as plain floats or lists, and starts over."""
        self._read()
        means = {name: (value / max(self.steps, 1)).tolist() for name, value in self._sums.items()}
        self._sums, self.steps = {}, 0
        return means
