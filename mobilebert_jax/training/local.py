"""Every block learns at once and alone: from its own transfer loss, at its own input (design ideas 2 and 4)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from mobilebert_jax.objectives.terms import weighted_total
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.program import Control
from mobilebert_jax.training.walks import block_mask, run_block, take
from mobilebert_jax.utils.placement import constrain, of_teacher


@dataclasses.dataclass(frozen=True, eq=False)
class LocalProgram(PairProgram):
    """The walk in common whose gradients stop at the blocks' borders; the trained tree is the stack.

    The scan's body runs the teacher's block, takes value and gradient of the student's block with its input stopped,
    and emits the gradient: nothing is stored between layers. `gated`: a block whose rate or weight is 0 at a step runs
    forward only then. `feeds`: the teacher's hidden states enter the blocks that `Control.fed` names.
    """

    gated: bool = False
    feeds: bool = False
    name: str = "local"
    independent: ClassVar[bool] = True

    def gradients(self, trained, rest, teacher, batch, counts, control: Control, rng):
        """Gradients of the stack, each block's from its own losses alone; transfer sums [L]."""
        pair, mask = self.transfer.pair, block_mask(batch)
        stack, statistics = teacher["encoder"]["layers"], self.transfer.statistics(teacher, batch)
        # The embeddings' output is the student's own whoever feeds the blocks: no block has spoilt it.
        fed = control.fed.at[0].set(False)

        def body(carry, layer):
            teacher_hidden, hidden = carry
            block, first, last, weight, rate, fed = layer
            with of_teacher():
                entered = self.entering(stack, teacher_hidden, mask, first, last)
                target = run_block(pair.teacher, take(stack, last), entered, mask, scores=True)
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
        layers = (trained["encoder"]["layers"], *self.teacher_blocks(), *settings)
        _, (grads, sums) = jax.lax.scan(body, self.embedded(teacher, rest, batch), layers)
        return {"encoder": {"layers": grads}}, sums
