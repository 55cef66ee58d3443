"""Transfer and distillation of several students at once, whose teacher walks once for all of them."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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

PHASES = ("transfer", "distill")


class Member(NamedTuple):
    """One of the students: its config, and the folder that a run of its own would have."""

    config: ConfigDict
    folder: Path


def run_side_by_side(
    members: Sequence[Member], workdir: str | Path, stopper: Stopper, phases: Sequence[str] = PHASES
) -> None:
    """Leaves in each member's folder what these phases of a run of its own leave there.

    That is the models and the logs; `run_recipe` goes on from them, and a transfer that is finished there is gone on
    from here. All see the examples of the first member, which has its seed from there. `workdir` keeps the checkpoints
    of all.

    Raises:
        UserError: bad config, members that have not `in_common` what they must, or more than one device. Stopped: asked
            to stop, the state is saved.
    """
    for phase in phases:
        if len({in_common(member.config, phase) for member in members}) > 1:
            raise UserError(f"{phase} is not the same for all students side by side: only seeds may differ")
    make = functools.partial(_Students, members=tuple(members))
    run_recipe(members[0].config, workdir, stopper, phases, make=make)


def in_common(config: ConfigDict, phase: str) -> str:
    """What students side by side in a phase share, as text: all that it depends on, but for the seed.

    For distillation that leaves out the transfer before it, which decides nothing but the weights it begins with.
    """
    other = {"seed", "finetune", "glue", *PHASES} - {phase}
    if config.transfer.strategy == "auxiliary":  # transfer is in the distillation
        other -= {"transfer"}
    return json.dumps({name: part for name, part in json.loads(config.to_json()).items() if name not in other})


class _Students(Recipe):
    """The phases, each of all students together."""

    def __init__(self, *given: Any, members: Sequence[Member]):
        super().__init__(*given)
        self.members = members
        if self.layout is not None:
            raise UserError("students side by side need one device; on several, train one after another (--together=1)")

    def student(self) -> None:
        """What one student's run does, for all of them."""
        teacher = self.finished_teacher()
        if "transfer" in self.phases and "transfer" in active_phases(self.config):
            self._all("transfer", lambda member: transfer_phase(member.config, self.data, teacher))
        if "distill" in self.phases:
            self._all("distill", lambda each: distill_phase(each.config, self.data, teacher, _transferred(each)))

    def _all(self, name: str, phase_of: Callable[[Member], Phase]) -> None:
        """A phase of all members, unless it is finished."""
        models = [member.folder / name / "model" for member in self.members]
        if all(model.exists() for model in models):
            return
        params = self._train(side_by_side([phase_of(member) for member in self.members]))
        lines = read_metrics(self.workdir / name / "metrics.jsonl")
        for index, model in enumerate(models):
            write_metrics(model.parent / "metrics.jsonl", [line_of(line, index) for line in lines])
            self._publish(model, self.student_config, one_of(params, index))


def _transferred(member: Member) -> Params | None:
    """What the member's transfer has left; None where there is none."""
    return read_model(member.folder / "transfer" / "model")[1] if "transfer" in active_phases(member.config) else None
