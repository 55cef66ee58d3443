"""What a person sees of a phase: a bar with two lines below it on a terminal, plain lines where there is none."""

import sys
from typing import Any

import numpy as np
from tqdm import tqdm

from mobilebert_jax.parallel import processes
from mobilebert_jax.training.pace import Pace

UNSHOWN = ("data_wait", "learning_rate")
"""Means that are written but not shown: the pace says the one, the schedule the other."""


class Progress:
    """The bar of one phase.

    Args:
        phase: its name.
        steps: of the whole phase.
        step: where it goes on.
    """

    def __init__(self, phase: str, steps: int, step: int):
        self._phase, self._steps = phase, steps
        common = {"disable": None if processes.is_first() else True, "dynamic_ncols": True}  # None: by the terminal
        self._bar = tqdm(total=steps, initial=step, desc=phase, unit="step", **common)
        self._lines = [tqdm(bar_format="  {desc}", position=row, leave=False, **common) for row in (1, 2)]

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        for line in self._lines:
            line.close()
        self._bar.close()

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._bar.set_description(f"{self._phase}: {name}" if name != self._phase else name)

    def advance(self) -> None:
        """One step is done."""
        self._bar.update()

    def show(self, step: int, stage: str, means: dict[str, Any], pace: Pace, left: dict[str, float]) -> None:
        """The newest means, the pace, and what is left: name -> seconds."""
        terms = brief({name: value for name, value in means.items() if name not in UNSHOWN})
        times = ", ".join(f"{name} {tqdm.format_interval(seconds)}" for name, seconds in left.items())
        if self._bar.disable:
            say(f"{self._phase} step {step}/{self._steps} {stage}: {terms}; {pace}; left: {times}")
            return
        for line, text in zip(self._lines, (terms, f"{pace}; left: {times}"), strict=True):
            line.set_description_str(text)


def say(text: str) -> None:
    """One plain line on stderr, above a progress bar if there is one; of several processes the first one speaks."""
    if processes.is_first():
        tqdm.write(text, file=sys.stderr)


def brief(values: dict[str, Any]) -> str:
    """Numbers in four digits; a list as its mean."""
    parts = []
    for name, value in values.items():
        array = np.asarray(value, np.float64)
        parts.append(f"{name} {array.mean() if array.ndim else float(array):.4g}")
    return ", ".join(parts)
