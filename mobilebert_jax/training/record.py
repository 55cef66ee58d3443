"""What a phase writes about itself: means and held-out figures, in metrics.jsonl and for TensorBoard."""

import time
from pathlib import Path
from typing import Any

from mobilebert_jax.parallel import processes
from mobilebert_jax.training.events import EventFile
from mobilebert_jax.training.feed import Fed
from mobilebert_jax.training.memory import memory_in_use
from mobilebert_jax.training.metrics import Means, MetricsFile, read_metrics
from mobilebert_jax.training.pace import Pace, Used, nothing_used
from mobilebert_jax.utils.faults import naming

FLAGS = ("healthy", "skipped", "asked")
"""Step metrics that steer the loop and are not logged."""


class Record:
    """The log of one phase, going on after `step`; lines of later steps, which were lost, are removed.

    `unlogged`: what `unlogged()` said at that step. Of several processes the first one writes; the others only count.
    """

    def __init__(self, folder: str | Path, phase: str, step: int, unlogged: dict[str, Any] | None = None):
        self._phase, self._writes = phase, processes.is_first()
        self._metrics = MetricsFile(Path(folder) / "metrics.jsonl", step if self._writes else None)
        self._events = EventFile(self._metrics.path)
        self._means = Means(unlogged)
        self.pace = Pace()
        # A restart goes on counting from the line that the restored step has left.
        logged = [line["seconds"] for line in read_metrics(self._metrics.path) if "seconds" in line]
        self._began = time.perf_counter() - (logged[-1] if logged else 0.0)

    def add(self, metrics: dict[str, Any], fed: Fed, waited: float) -> None:
        """One step's metrics, its batch, and the seconds it waited for that. Reads nothing from the device."""
        kept = {name: value for name, value in metrics.items() if name not in FLAGS}
        self._means.add({**kept, "data_wait": waited})
        self.pace.add(fed.examples, fed.tokens, waited)

    def log(self, step: int, stage: str, used: Used = nothing_used, **more: Any) -> dict[str, Any]:
        """Writes the means since the last line, with pace, seconds of the phase and memory; returns the means.

        `used`: as in `Pace.take`.
        """
        means = self._means.take()
        seconds = round(time.perf_counter() - self._began, 3)
        said = {**self.pace.take(used), "seconds": seconds, "memory": memory_in_use(), **more}
        self._write({"step": step, "phase": self._phase, "stage": stage, **means, **said})
        return means

    def unlogged(self) -> dict[str, Any]:
        """The steps since the last line, for a checkpoint: the next line counts them too, whoever writes it."""
        return self._means.pending()

    def log_heldout(self, step: int, figures: dict[str, Any]) -> None:
        """Writes held-out figures."""
        self._write({"step": step, "phase": self._phase, "heldout": figures})

    def is_evaluated(self, step: int) -> bool:
        """Whether the held-out figures of a step are written."""
        return any(line["step"] == step and "heldout" in line for line in read_metrics(self._metrics.path))

    def close(self) -> None:
        """Closes TensorBoard's file."""
        self._events.close()

    def _write(self, line: dict[str, Any]) -> None:
        if not self._writes:
            return
        with naming(self._metrics.path):
            self._metrics.write(line)
        with naming(self._metrics.path.with_name("events.out.tfevents")):
            self._events.write(line)
