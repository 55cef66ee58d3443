"""Where a phase's arrays lie: on one device as they are, or on a mesh as its layout says. The loop asks both alike."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.optim.optimizer import OptimizerConfig, make_optimizer
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.training.placing import placed_state, placed_trained, shardings_of
from mobilebert_jax.training.program import Control, Program, TrainState, init_state
from mobilebert_jax.utils.types import Params


class OneDevice:
    """Plain programs on the default device."""

    def target(self, shapes: Params, program: Program, optimizer: OptimizerConfig) -> tuple[Params, Any]:
        """Shapes of whole parameters and of the slots of what `program` trains, for a restore."""
        trained = jax.eval_shape(lambda tree: program.cut(tree, 0)[0], shapes)
        return shapes, jax.eval_shape(make_optimizer(optimizer).init, trained)

    def state(
        self, program: Program, trained: Params, optimizer: OptimizerConfig, step: int, skipped: int
    ) -> TrainState:
        """A stage's first state, with empty slots, that shares no memory with `trained`."""
        # A copy, because the step donates it while the whole parameters are still held.
        return init_state(jax.tree.map(lambda leaf: leaf.copy(), trained), optimizer, step, skipped)

    def cut(self, program: Program, params: Params, block: int) -> tuple[Params, Params]:
        """As `program.cut`."""
        return program.cut(params, block)

    def join(self, program: Program, state: TrainState, rest: Params, block: int) -> Params:
        """As `program.join`, of what the state trains."""
        return program.join(state.trained, rest, block)

    def failed(
        self, metrics: dict[str, Any], state: TrainState, rest: Params
    ) -> tuple[str, dict[str, Any], TrainState, Params]:
        """(what an error says of who it was, and these three of it) after a step that was not finite."""
        return "", metrics, state, rest

    def whole(self, params: Params) -> Params:
        """Whole parameters that a stage has put together, as the next one takes them."""
        return params

    def control(self, control: Control) -> Control:
        """A stage's settings, as a step takes them."""
        return control

    def asked(self, reason: str | None) -> tuple[Any, ...]:
        """What a step takes beside its other arguments: whether this process was asked to stop."""
        return ()

    def step_settings(self, state: TrainState) -> tuple[Any, ...]:
        """What `make_step` takes beside the phase's settings."""
        return ()


@dataclasses.dataclass(frozen=True)
class OnMesh(OneDevice):
    """Everything global and laid out.

    Attributes:
        layout: the mesh and its presets.
        params: shapes and shardings at rest of the trained network's parameters, see `placing.placed_params`.
    """

    layout: Layout
    params: Params

    def target(self, shapes: Params, program: Program, optimizer: OptimizerConfig) -> tuple[Params, Any]:
        """With shardings: every process reads its own parts."""
        return self.params, self._shapes(program, optimizer).opt_state

    def state(
        self, program: Program, trained: Params, optimizer: OptimizerConfig, step: int, skipped: int
    ) -> TrainState:
        """Slots are made where they stay."""
        shardings = shardings_of(self._shapes(program, optimizer))
        scalars = {"step": np.int32(step), "healthy": np.bool_(True), "skipped": np.int32(skipped)}
        return TrainState(
            trained=jax.jit(_copied, out_shardings=shardings.trained)(trained),
            opt_state=jax.jit(make_optimizer(optimizer).init, out_shardings=shardings.opt_state)(trained),
            **self.layout.put_whole(scalars),
        )

    def _shapes(self, program: Program, optimizer: OptimizerConfig) -> TrainState:
        return placed_state(self.layout, optimizer, placed_trained(program, self.params))

    def whole(self, params: Params) -> Params:
        """Back in their places, wherever the stage's end has left them."""
        return jax.jit(_copied, out_shardings=shardings_of(self.params))(params)

    def control(self, control: Control) -> Control:
        """On every device."""
        return self.layout.put_whole(control)

    def asked(self, reason: str | None) -> tuple[Any, ...]:
        """The step then says whether any process was asked, the same in all."""
        return (self.layout.put_flag(reason is not None),)

    def step_settings(self, state: TrainState) -> tuple[Any, ...]:
        """The layout, and that the state stays where it is."""
        return self.layout, shardings_of(state)


def _copied(tree: Params) -> Params:
    return jax.tree.map(jnp.copy, tree)
