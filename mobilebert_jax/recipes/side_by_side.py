"""Transfer and distillation of several students at once, whose teacher walks once for all of them."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.recipes.phases import distill_phase, transfer_phase
from mobilebert_jax.recipes.run import Recipe, read_model, run_recipe
from mobilebert_jax.recipes.settings import active_phases
from mobilebert_jax.training.metrics import read_metrics, write_metrics
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.side_by_side import line_of, one_of, side_by_side
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Params


def run_side_by_side(config: ConfigDict, workdir: str | Path, stopper: Stopper, folders: Mapping[int, Path]) -> None:
    """A student for each seed of `folders`, seed -> its folder, which then holds what a run of its own leaves there.

    That is the models and the logs of transfer and distillation; `run_recipe` goes on from them. All see the examples
    of the first seed: they differ in the weights that they begin with alone. `workdir` keeps the checkpoints of all.

    Raises:
        UserError: bad config, or more than one device. Stopped: asked to stop, the state is saved.
    """
    make = functools.partial(_Students, folders=folders)
    run_recipe(config, workdir, stopper, ("transfer", "distill"), make=make)


class _Students(Recipe):
    """The two phases, each of all students together."""

    def __init__(self, *given: Any, folders: Mapping[int, Path]):
        super().__init__(*given)
        self.folders = folders
        if self.layout is not None:
            raise UserError("students side by side need one device; on several, train one after another (--together=1)")

    def student(self) -> None:
        """What one student's run does, for all of them."""
        teacher, transferred = self.finished_teacher(), {}
        if "transfer" in active_phases(self.config):
            transferred = self._all("transfer", lambda seed: transfer_phase(self._of(seed), self.data, teacher))
        self._all("distill", lambda seed: distill_phase(self._of(seed), self.data, teacher, transferred.get(seed)))

    def _of(self, seed: int) -> ConfigDict:
        config = ConfigDict(self.config.to_dict())
        config.seed = seed
        return config

    def _all(self, name: str, phase_of: Callable[[int], Phase]) -> dict[int, Params]:
        """Seed -> parameters after a phase; those of a phase that is finished are read."""
        models = {seed: folder / name / "model" for seed, folder in self.folders.items()}
        if all(model.exists() for model in models.values()):
            return {seed: read_model(model)[1] for seed, model in models.items()}
        together = self._train(side_by_side([phase_of(seed) for seed in models]))
        params = {seed: one_of(together, index) for index, seed in enumerate(models)}
        lines = read_metrics(self.workdir / name / "metrics.jsonl")
        for index, (seed, model) in enumerate(models.items()):
            write_metrics(model.parent / "metrics.jsonl", [line_of(line, index) for line in lines])
            self._publish(model, self.student_config, params[seed])
        return params
