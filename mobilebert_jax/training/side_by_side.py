"""Students that learn side by side from the same batches, so that their teacher walks once for all of them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.optim.optimizer import OptimizerConfig, make_optimizer
from mobilebert_jax.training.devices import OneDevice
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.program import Program, TrainState
from mobilebert_jax.utils.types import Params


def side_by_side(phases: Sequence[Phase]) -> Phase:
    """One phase of many that differ in their initial parameters; everything else is taken from the first.

    Its parameters, checkpoints and figures have a leading axis, the students in order. What a step of it is worth in
    multiply-adds is not said: the teacher's part is shared.
    """
    first = phases[0]
    return dataclasses.replace(
        first,
        students=len(phases),
        init=lambda: stacked([phase.init() for phase in phases]),
        evaluate=first.evaluate and _of_each(first.evaluate, len(phases)),
        work=(),
        later=0.0,
    )


def stacked(trees: Sequence[Params]) -> Params:
    """Parameters of several students as one tree, each leaf [students, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def one_of(tree: Any, student: int) -> Any:
    """One student's part of such a tree."""
    return jax.tree.map(lambda leaf: leaf[student], tree)


def line_of(line: dict[str, Any], student: int) -> dict[str, Any]:
    """One student's part of a logged line: lists are of all of them in order, all else is shared."""
    if "heldout" in line:
        return {**line, "heldout": {name: values[student] for name, values in line["heldout"].items()}}
    return {name: value[student] if isinstance(value, list) else value for name, value in line.items()}


def _of_each(evaluate: Callable[..., dict[str, Any] | None], students: int) -> Callable[..., dict[str, Any] | None]:
    """Figures of all students, each a list."""

    def figures(params: Params, *stop: Any) -> dict[str, Any] | None:
        each = [evaluate(one_of(params, student), *stop) for student in range(students)]
        return None if None in each else {name: [found[name] for found in each] for name in each[0]}

    return figures


@dataclasses.dataclass(frozen=True)
class SideBySide(OneDevice):
    """So many students on the default device."""

    students: int

    def target(self, shapes: Params, program: Program, optimizer: OptimizerConfig) -> tuple[Params, Any]:
        """As of one, with the leading axis."""
        trained = jax.eval_shape(lambda tree: self.cut(program, tree, 0)[0], shapes)
        return shapes, jax.eval_shape(jax.vmap(make_optimizer(optimizer).init), trained)

    def state(
        self, program: Program, trained: Params, optimizer: OptimizerConfig, step: int, skipped: int
    ) -> TrainState:
        """All are at one step; whatever else a state holds, each has for itself."""
        return TrainState(
            step=jnp.int32(step),
            trained=jax.tree.map(lambda leaf: leaf.copy(), trained),
            opt_state=jax.jit(jax.vmap(make_optimizer(optimizer).init))(trained),
            healthy=jnp.ones(self.students, bool),
            skipped=jnp.full(self.students, skipped, jnp.int32),
        )

    def cut(self, program: Program, params: Params, block: int) -> tuple[Params, Params]:
        """Of each student."""
        return jax.vmap(lambda tree: program.cut(tree, block))(params)

    def join(self, program: Program, state: TrainState, rest: Params, block: int) -> Params:
        """Of each student."""
        return jax.vmap(lambda trained, rest: program.join(trained, rest, block))(state.trained, rest)

    def failed(
        self, metrics: dict[str, Any], state: TrainState, rest: Params
    ) -> tuple[str, dict[str, Any], TrainState, Params]:
        """The first one that is no longer healthy, or else whose step was not finite."""
        healthy, finite = np.asarray(metrics["healthy"]), np.asarray(metrics["finite"])
        student = int(np.argmin(finite if healthy.all() else healthy))
        step, own = state.step, one_of(state.replace(step=None), student)
        who = f", student {student} of {self.students} side by side"
        return who, one_of(metrics, student), own.replace(step=step), one_of(rest, student)

    def step_settings(self, state: TrainState) -> tuple[Any, ...]:
        """No layout, and the leading axis."""
        return None, None, True
