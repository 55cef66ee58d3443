"""Some steps recorded by JAX's profiler, for xprof or TensorBoard to show."""

import contextlib
import dataclasses
import re
from pathlib import Path
from typing import Any

import jax

from mobilebert_jax.training.progress import say
from mobilebert_jax.utils.errors import UserError

WARM_UP = 2
"""Steps that a phase makes before so many are recorded without saying which: the first one compiles."""


@dataclasses.dataclass(frozen=True)
class Traced:
    """Steps `first` to `last` of `phase`; without a phase of each one, counted from where this process goes on."""

    phase: str
    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> "Traced":
        """`10` for ten steps of every phase, `distill:1001-1010` for these; UserError for anything else."""
        found = re.fullmatch(r"([1-9]\d*)|([a-z]+):([1-9]\d*)-([1-9]\d*)", text)
        if found and found[1]:
            return cls("", WARM_UP + 1, WARM_UP + int(found[1]))
        if found and int(found[3]) <= int(found[4]):
            return cls(found[2], int(found[3]), int(found[4]))
        raise UserError(f"--profile={text}: give a number of steps, such as 10, or PHASE:FIRST-LAST, distill:1001-1010")

    def steps_of(self, phase: str, step: int) -> tuple[int, int] | None:
        """(first, last) step of a phase that goes on after `step`; None where nothing is to be recorded."""
        if not self.phase:
            return step + self.first, step + self.last
        return (self.first, self.last) if phase == self.phase and step < self.last else None


class Trace:
    """The recording of one phase, in `folder/profile`, every process its own file.

    The profiler is on from `first`, or where the phase goes on, to `last`, or where the phase ends or stops.
    """

    def __init__(self, traced: Traced | None, phase: str, folder: Path, step: int):
        self._steps = traced.steps_of(phase, step) if traced else None
        self._phase, self._folder = phase, folder / "profile"
        self._from = self._to = 0

    def step(self, step: int) -> contextlib.AbstractContextManager:
        """What a step is made in; costs nothing where it is not recorded."""
        if self._steps is None or step < self._steps[0]:
            return contextlib.nullcontext()
        if not self._from:
            self._from = step
            jax.profiler.start_trace(self._folder)
        self._to = step
        return jax.profiler.StepTraceAnnotation(self._phase, step_num=step)

    def made(self, step: int, outputs: Any) -> None:
        """The step has been handed to the device: after the last one, waits for it and writes the recording."""
        if self._steps and step >= self._steps[1]:
            jax.block_until_ready(outputs)
            self.close()

    def close(self) -> None:
        """Writes what there is."""
        self._steps = None
        if self._from:
            jax.profiler.stop_trace()
            say(f"{self._phase}: steps {self._from} to {self._to} are recorded in {self._folder}")
            self._from = 0
