"""How a run is watched: what its time goes to, and which steps the profiler records."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from mobilebert_jax.training.progress import say
from mobilebert_jax.training.time_spent import NAME, TimeSpent
from mobilebert_jax.training.trace import Traced
from mobilebert_jax.utils.errors import UserError


@contextlib.contextmanager
def time_spent(workdir: str | Path, began: float) -> Iterator[TimeSpent]:
    """The run's account of its time, which the run ends by saying; counts from `began`, in `time.monotonic()`."""
    spent = TimeSpent(Path(workdir) / NAME, began)
    try:
        yield spent
    finally:
        # A run that was refused before its first phase has left nothing, not even this file.
        if spent.written:
            spent.write()
            say(f"time {spent}")


def check_traced(config: ConfigDict, traced: Traced, phases: Sequence[str]) -> None:
    """UserError where a run of these phases will never make the steps that are to be recorded."""
    if not traced.phase:
        return
    if traced.phase not in phases:
        raise UserError(f"--profile={traced.phase}:...: no such phase here; there are {', '.join(phases)}")
    if traced.last > config[traced.phase].steps:
        asked = f"--profile={traced.phase}:{traced.first}-{traced.last}"
        raise UserError(f"{asked}: the phase has {config[traced.phase].steps} steps")
