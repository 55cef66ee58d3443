"""The best parameters on the dev set, and when to stop looking for better ones, decided by what is on the disk."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn

from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.parallel.processes import first_says, on_first, whole
from mobilebert_jax.training.checkpoint_reader import finished_steps
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.utils.addresses import is_address
from mobilebert_jax.utils.types import Params

SCORE = "score"
"""The held-out figure that decides: higher is better."""

CANDIDATES = "candidates"
"""The folder, in a phase's own, of what may still be chosen."""

Scored = tuple[int, float]
"""A step and its score."""


class BestOnDev:
    """Keeps the best evaluation's parameters in `candidates/STEP`; ends a phase after `patience` evaluations no better.

    Both follow from metrics.jsonl, which a restart cuts back to the restored step. For every checkpoint that a restart
    may go back to, the best candidate up to it stays: a run that was killed at any moment chooses as one that was not.
    Evaluations before the first step do not count. `checkpoints` is where they lie, by default in the folder; where
    that is an address, all candidates stay until the end.
    """

    def __init__(
        self,
        folder: str | Path,
        model: nn.Module,
        keeps: bool = True,
        patience: int = 0,
        checkpoints: str | Path = "",
    ):
        self.folder, self._model, self._keeps, self._patience = Path(folder), model, keeps, patience
        self._checkpoints = checkpoints or self.folder / "checkpoints"

    def keep(self, step: int, params: Params, figures: dict[str, Any]) -> None:
        """See `training.loop.Selection`."""
        if step and self._keeps:
            params = whole(params)
            on_first(lambda: self._keep(step, params, figures[SCORE]))

    def ended(self) -> bool:
        """See `training.loop.Selection`."""
        scored = self._scored()
        since = len(scored) - 1 - scored.index(best(scored)) if scored else 0
        return first_says(0 < self._patience <= since)

    def chosen(self) -> Scored:
        """The best evaluation of all, or the last one where nothing is kept."""
        scored = self._scored()
        return best(scored) if self._keeps else scored[-1]

    def chosen_params(self) -> Params:
        """The parameters of `chosen`, as they were kept."""
        path = self._candidate(self.chosen()[0])
        return from_pretrained(path, head=read_folder_config(path / CONFIG).head)[1]

    def clear(self) -> None:
        """Removes the candidates, once the chosen one is elsewhere."""
        shutil.rmtree(self.folder / CANDIDATES, ignore_errors=True)

    def _keep(self, step: int, params: Params, score: float) -> None:
        scored = [*(each for each in self._scored() if each[0] < step), (step, score)]
        if best(scored)[0] == step:
            save_pretrained(self._candidate(step), self._model, params)
        if is_address(self._checkpoints):
            return
        # A checkpoint since the evaluation before may be unfinished as yet.
        restarts = *finished_steps(self._checkpoints), *(at for at, _ in scored[-2:])
        wanted = {best_until(scored, at) for at in restarts}
        for path in self._candidate(step).parent.glob("[0-9]*"):
            if int(path.name) not in wanted:
                shutil.rmtree(path)

    def _candidate(self, step: int) -> Path:
        return self.folder / CANDIDATES / str(step)

    def _scored(self) -> list[Scored]:
        lines = read_metrics(self.folder / "metrics.jsonl")
        return [(line["step"], line["heldout"][SCORE]) for line in lines if "heldout" in line and line["step"]]


def best(scored: Sequence[Scored]) -> Scored:
    """The highest score, of equals the first."""
    return max(scored, key=lambda each: (each[1], -each[0]))


def best_until(scored: Iterable[Scored], step: int) -> int | None:
    """The step of the best evaluation up to a step; None where there is none."""
    before = [each for each in scored if each[0] <= step]
    return best(before)[0] if before else None
