"""What a run's folder says about the run, whatever of it is there yet."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.recipes.settings import PHASES, active_phases
from mobilebert_jax.recipes.workdir import read_run
from mobilebert_jax.training.metrics import step_seconds
from mobilebert_jax.training.time_spent import NAME as TIME_FILE
from mobilebert_jax.training.time_spent import read_time, summed
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json, read_json_lines

Line = dict[str, Any]


@dataclass(frozen=True)
class PhaseLog:
    """One phase: its settings, its whole metrics lines, and how far it came.

    `steps` and `batch_size` are the config's; `part_of_run` is False where the config leaves the phase out.
    """

    name: str
    steps: int
    batch_size: int
    part_of_run: bool
    finished: bool
    lines: tuple[Line, ...]

    @property
    def train(self) -> list[Line]:
        """The lines with means over training steps."""
        return [line for line in self.lines if "heldout" not in line]

    @property
    def heldout(self) -> list[Line]:
        """The lines with held-out figures."""
        return [line for line in self.lines if "heldout" in line]

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return max((line["step"] for line in self.lines), default=0)

    @property
    def state(self) -> str:
        """How far the phase came, in words."""
        if self.finished:
            return "finished"
        if not self.part_of_run:
            return "not part of this run"
        return f"at step {self.step:,} of {self.steps:,}" if self.lines else "not started"

    @property
    def rate(self) -> float | None:
        """Median of the logged examples per second."""
        rates = [line["examples_per_second"] for line in self.train if line.get("examples_per_second")]
        return statistics.median(rates) if rates else None

    @property
    def step_seconds(self) -> float | None:
        """Seconds that the logged steps took, without compilation, saving and evaluation."""
        return step_seconds(self.train, self.batch_size)

    @property
    def elapsed(self) -> float | None:
        """Seconds of the phase up to its last logged step, everything included; None in runs that did not log them."""
        return next((line["seconds"] for line in reversed(self.train) if "seconds" in line), None)

    def memory(self, where: str) -> int | None:
        """The most bytes that any line reports, of the `host` or of the fullest `device`; None where none does."""
        return max((line["memory"][where] for line in self.train if where in line.get("memory", {})), default=None)

    def last(self, figure: str) -> float | None:
        """The newest held-out figure of that name that is one number."""
        values = [line["heldout"].get(figure) for line in self.heldout]
        return next((value for value in reversed(values) if isinstance(value, int | float)), None)


@dataclass(frozen=True)
class RunFolder:
    """A run's folder as read: `run` is config.json, `config` the settings in it; the others are None until written.

    `time` is seconds by kind, {} until written.
    """

    path: Path
    run: dict[str, Any]
    phases: dict[str, PhaseLog]
    results: dict[str, Any] | None
    manifest: dict[str, Any] | None
    time: dict[str, float]

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings."""
        return self.run["config"]

    def teacher_model(self) -> Path:
        """Where the teacher's model folder is, once there is one."""
        return Path(self.config["teacher"].get("path") or self.path / "teacher" / "model")

    def student_model(self) -> Path:
        """The newest folder of the pretrained student: distilled, or else transferred."""
        distilled = self.path / "distill" / "model"
        return distilled if distilled.is_dir() else self.path / "transfer" / "model"


def read_folder(workdir: str | Path) -> RunFolder:
    """Reads config.json, metrics, results and manifest; whatever is not there yet, or cut short, is left out.

    Raises:
        UserError: `workdir` holds no config.json, or not that of a run.
    """
    path = Path(workdir)
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: no config.json there; give the folder of a run, as in --workdir")
    run = read_run(path / "config.json")
    try:
        active = ["finetune"] if "--model" in run["inputs"] else active_phases(ConfigDict(run["config"]))
        phases = {name: _phase(path, run["config"][name], name, name in active) for name in PHASES}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path / 'config.json'}: not the config.json of a run; give the folder of one") from error
    results = _optional_json(path / "finetune" / "results.json")
    lines = read_time(path / TIME_FILE)
    time = summed(lines) if lines else {}
    return RunFolder(path, run, phases, results, _optional_json(path / "data" / "manifest.json"), time)


def _phase(path: Path, settings: dict[str, Any], name: str, active: bool) -> PhaseLog:
    # What the recipe takes as the sign that a phase is through.
    sign = path / name / ("results.json" if name == "finetune" else "model")
    lines = tuple(line for line in read_json_lines(path / name / "metrics.jsonl") if "step" in line)
    return PhaseLog(name, settings["steps"], settings["batch_size"], active, sign.exists(), lines)


def _optional_json(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except (OSError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None
