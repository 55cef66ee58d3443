"""What the loop needs to know of a phase: its plan, its programs, its batches, and how often what happens."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.optim.optimizer import OptimizerConfig
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.training.feed import Feed
from mobilebert_jax.training.program import LearningRate, Program
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.utils.types import Params


@dataclasses.dataclass(frozen=True)
class Cadence:
    """Every how many steps something happens (0: only at the end), and how many checkpoints stay."""

    log: int
    evaluate: int
    save: int
    keep: int = 2


class Selection(Protocol):
    """What a phase makes of its held-out figures; all it knows is on the disk, so that a killed run decides alike."""

    def keep(self, step: int, params: Params, figures: dict[str, Any]) -> None:
        """Hears of an evaluation before its line is written: whole parameters, perhaps worth keeping."""

    def ended(self) -> bool:
        """Whether the phase ends here, from the lines that are written; the same in every process."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """Everything the loop needs to know of a phase.

    Attributes:
        programs: one for each stage of the plan; stages that share a program share its compiled step.
        batches: those from a step on, already on the devices; a batch is a function of its step.
        init: makes the parameters of step 0.
        teacher: read-only parameters, {} without a teacher. Never donated, never saved.
        networks: name -> (config, parameters or None for what is being trained), for the diagnosis.
        evaluate: whole parameters, "is a stop asked for?" -> held-out figures, or None when it gave way to a stop.
        meta: what else a checkpoint records, such as the teacher's path and fingerprint.
        nonfinite_skips: so many steps may have a loss or gradients that are not finite; they change no parameters.
        students: of so many that learn side by side, all parameters have a leading axis; 0: of one, they have not.
        layout: where everything lies on a mesh; `teacher` and `batches` do already, `init` and `evaluate` know of it.
        axes: with a layout, the logical axes of the parameters that `init` makes.
        work: of one step of each stage, in a unit that `later` shares, for the time left; () where all steps are alike.
        later: the work of all phases that follow.
        selection: keeps the best parameters and may end the phase early.
    """

    name: str
    plan: Plan
    programs: tuple[Program, ...]
    optimizer: OptimizerConfig
    learning_rate: LearningRate
    cadence: Cadence
    batches: Feed
    init: Callable[[], Params]
    networks: dict[str, tuple[ModelConfig, Params | None]]
    teacher: Params = dataclasses.field(default_factory=dict)
    evaluate: Callable[[Params, Callable[[], Any]], dict[str, Any] | None] | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    accumulation: int = 1
    seed: int = 0
    nonfinite_skips: int = 0
    students: int = 0
    layout: Layout | None = None
    axes: Any = None
    work: tuple[float, ...] = ()
    later: float = 0.0
    selection: Selection | None = None
