"""Every block learns at once and alone: from its own transfer loss, at its own input (design ideas 2 and 4)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from mobilebert_jax.objectives.terms import weighted_total
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.program import Control
from mobilebert_jax.training.walks import block_mask, run_block, take
from mobilebert_jax.utils.placement import constrain, of_teacher
from mobilebert_jax.utils.types import Array, Batch, BlockOutput, Params

TEACHER = "teacher_blocks"
"""Field of a batch, [B, L, ...]: of the teacher's blocks that are imitated, what enters them if fed, and the output."""


@dataclasses.dataclass(frozen=True, eq=False)
class LocalProgram(PairProgram):
    """The walk in common whose gradients stop at the blocks' borders; the trained tree is the stack.

    The scan's body runs the teacher's block, takes value and gradient of the student's block with its input stopped,
    and emits the gradient: nothing is stored between layers. `gated`: a block whose rate or weight is 0 at a step runs
    forward only then. `feeds`: the teacher's hidden states enter the blocks that `Control.fed` names. With several
    `updates` from a batch the teacher's outputs are stored, and the body takes them from there.
    """

    gated: bool = False
    feeds: bool = False
    updates: int = 1
    name: str = "local"
    independent: ClassVar[bool] = True

    def seen(self, teacher: Params, batch: Batch) -> Batch:
        """With the outputs of the teacher's blocks, so that no update walks through them again."""
        imitated = self._imitated(teacher, batch)

        def body(hidden, layer):
            entered, target = imitated(hidden, *layer)
            return target.hidden, (entered if self.feeds else None, target)

        _, stored = jax.lax.scan(body, self.teacher_embedded(teacher, batch), self.teacher_blocks())
        return {**batch, TEACHER: _swapped(stored)}

    def _imitated(self, teacher: Params, batch: Batch):
        """(what enters block `first`, first, last) -> what enters the teacher's block `last`, and its output."""
        stack, mask = teacher["encoder"]["layers"], block_mask(batch)

        def walked(hidden: Array, first: Array, last: Array) -> tuple[Array, BlockOutput]:
            with of_teacher():
                entered = self.entering(stack, hidden, mask, first, last)
                return entered, run_block(self.transfer.pair.teacher, take(stack, last), entered, mask, scores=True)

        return walked

    def gradients(self, trained, rest, teacher, batch, counts, control: Control, rng):
        """Gradients of the stack, each block's from its own losses alone; transfer sums [L]."""
        pair, mask = self.transfer.pair, block_mask(batch)
        statistics, imitated = self.transfer.statistics(teacher, batch), self._imitated(teacher, batch)
        stored = _swapped(batch.get(TEACHER))
        # The embeddings' output is the student's own whoever feeds the blocks: no block has spoilt it.
        fed = control.fed.at[0].set(False)

        def body(carry, layer):
            teacher_hidden, hidden = carry
            block, first, last, weight, rate, fed, known = layer
            entered, target = known or imitated(teacher_hidden, first, last)
            if self.feeds:
                hidden = constrain(jnp.where(fed, entered, hidden), ("batch", "length", "embed"))

            def loss(block):
                out = run_block(pair.student, block, hidden, mask, scores=True)
                sums = self.transfer.sums(target, out, batch, statistics)
                return weight * weighted_total(sums, counts, self.transfer.coefficients), (out.hidden, sums)

            def idle(block):
                return jax.tree.map(jnp.zeros_like, block), loss(block)[1]

            learn = jax.grad(loss, has_aux=True)
            learns = (rate > 0) & (weight != 0)
            grads, (hidden, sums) = jax.lax.cond(learns, learn, idle, block) if self.gated else learn(block)
            return (target.hidden, hidden), (grads, sums)

        settings = control.block_weights, control.block_rates, fed
        layers = (trained["encoder"]["layers"], *self.teacher_blocks(), *settings, stored)
        _, (grads, sums) = jax.lax.scan(body, self.embedded(teacher, rest, batch), layers)
        return {"encoder": {"layers": grads}}, sums


def _swapped(tree: Any) -> Any:
    """[L, B, ...], as scans have it, to [B, L, ...], as microbatches are cut, and back."""
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), tree)
