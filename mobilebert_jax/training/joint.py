"""Teacher and student walk the stack together: joint and auxiliary transfer, and every stage no cheaper walk serves."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from mobilebert_jax.models.encoder import REMAT
from mobilebert_jax.models.heads import MobileBertForPreTraining
from mobilebert_jax.models.masks import Mask
from mobilebert_jax.objectives.terms import weighted_total
from mobilebert_jax.training.alone import general_multipliers, head_counts, pretraining_sums
from mobilebert_jax.training.program import Control
from mobilebert_jax.training.transfer import Transfer
from mobilebert_jax.training.walks import block_mask, block_scores, embed, run_block, take, walk
from mobilebert_jax.utils.placement import of_teacher
from mobilebert_jax.utils.types import Array, Batch, BlockOutput, Params


@dataclasses.dataclass(frozen=True, eq=False)
class PairProgram:
    """One scan carries (teacher hidden, student hidden) and emits each layer's transfer sums (design idea 3).

    With the student's `remat` policy the teacher's attention scores of a layer are made again on the way back, from
    what entered its block, so that the maps of all layers never exist at once. `blocks_only`: the trained tree is the
    stack alone; otherwise the whole student, with the head terms that `coefficients` names.
    """

    transfer: Transfer
    coefficients: Mapping[str, float]
    blocks_only: bool
    name: str = "pair"
    one_block: ClassVar[bool] = False
    independent: ClassVar[bool] = False
    updates: ClassVar[int] = 1

    def part(self, tree: Params) -> Params:
        """The stack or everything."""
        return {"encoder": {"layers": tree["encoder"]["layers"]}} if self.blocks_only else tree

    def cut(self, params: Params, block: int) -> tuple[Params, Params]:
        """(the stack or the whole student, the whole student or nothing)."""
        return self.part(params), params if self.blocks_only else {}

    def join(self, trained: Params, rest: Params, block: int) -> Params:
        """The whole student."""
        if not self.blocks_only:
            return trained
        return {**rest, "encoder": {**rest["encoder"], **trained["encoder"]}}

    def counts(self, batch: Batch) -> dict[str, Array]:
        """Counts of the transfer terms and of the head terms."""
        return self.transfer.counts(batch) | head_counts(batch, self.transfer.pair.tf1_compat)

    def gradients(self, trained, rest, teacher, batch, counts, control: Control, rng):
        """Gradients of the trained tree; transfer sums [L], head sums scalar."""
        statistics = self.transfer.statistics(teacher, batch)

        def loss(tree):
            params = self.join(tree, rest, 0)
            teacher_last, student_last, sums = self.co_walk(teacher, params, batch, statistics)
            factors = self.transfer.coefficients.items()
            weighted = {name: control.block_weights * factor for name, factor in factors if name in sums}
            total = weighted_total(sums, counts, weighted)
            if not self.blocks_only:
                heads = self._head_sums(teacher, teacher_last, params, student_last, batch)
                head_coefficients = {k: v for k, v in self.coefficients.items() if k not in weighted}
                total, sums = total + weighted_total(heads, counts, head_coefficients), {**sums, **heads}
            return total, sums

        return jax.grad(loss, has_aux=True)(trained)

    def co_walk(self, teacher, student, batch, statistics) -> tuple[Array, Array, dict[str, Array]]:
        """Both last hidden states [B, S, H], and every layer's transfer sums [L]."""
        pair, mask = self.transfer.pair, block_mask(batch)
        stack = teacher["encoder"]["layers"]

        def student_side(block, hidden, teacher_block, teacher_in, teacher_out):
            with of_teacher():
                target = BlockOutput(teacher_out, block_scores(pair.teacher, teacher_block, teacher_in, mask))
            out = run_block(pair.student, block, hidden, mask, scores=True)
            return out.hidden, self.transfer.sums(jax.lax.stop_gradient(target), out, batch, statistics)

        if pair.student.remat != "none":
            student_side = jax.checkpoint(student_side, policy=REMAT[pair.student.remat], prevent_cse=False)

        def body(carry, layer):
            teacher_hidden, student_hidden = carry
            block, first, last = layer
            with of_teacher():
                teacher_in = self.entering(stack, teacher_hidden, mask, first, last)
                teacher_block = take(stack, last)
                teacher_out = run_block(pair.teacher, teacher_block, teacher_in, mask).hidden
            student_hidden, sums = student_side(block, student_hidden, teacher_block, teacher_in, teacher_out)
            return (teacher_out, student_hidden), sums

        layers = (student["encoder"]["layers"], *self.teacher_blocks())
        (teacher_last, student_last), sums = jax.lax.scan(body, self.embedded(teacher, student, batch), layers)
        return teacher_last, student_last, sums

    def teacher_blocks(self) -> tuple[Array, Array]:
        """For each block of the student, both [L]: the first of the teacher's since the block below, and its own."""
        mapped = jnp.asarray(self.transfer.pair.layer_map)
        return jnp.concatenate([jnp.zeros(1, mapped.dtype), mapped[:-1] + 1]), mapped

    def entering(self, stack: Params, hidden: Array, mask: Mask, first: Array, last: Array) -> Array:
        """What enters the teacher's block `last`, from what enters its block `first`."""
        pair = self.transfer.pair
        # A loop that never runs would still keep a block's parameters.
        return walk(pair.teacher, stack, hidden, mask, first, last) if pair.skips else hidden

    def embedded(self, teacher: Params, student: Params, batch: Batch) -> tuple[Array, Array]:
        """What enters block 0 of teacher and student, [B, S, H]."""
        pair = self.transfer.pair
        return self.teacher_embedded(teacher, batch), embed(pair.student, student["encoder"]["embeddings"], batch)

    def teacher_embedded(self, teacher: Params, batch: Batch) -> Array:
        """What enters the teacher's block 0, [B, S, H]."""
        with of_teacher():
            return embed(self.transfer.pair.teacher, teacher["encoder"]["embeddings"], batch)

    def _head_sums(self, teacher, teacher_last, student, student_last, batch):
        """The head terms on the walks' last hidden states; the teacher's unmapped upper blocks are walked first."""
        pair = self.transfer.pair
        teacher_logits = None
        if self.coefficients.get("distillation"):
            stack, total = teacher["encoder"]["layers"], pair.teacher.num_hidden_layers
            above, mask = pair.layer_map[-1] + 1, block_mask(batch)
            with of_teacher():
                hidden = walk(pair.teacher, stack, teacher_last, mask, above, total)
                teacher_logits = _heads(pair.teacher, teacher, hidden, batch).prediction_logits
        out = _heads(pair.student, student, student_last, batch)
        return pretraining_sums(out, batch, self.coefficients, teacher_logits)

    def multipliers(self, trained, control: Control, factor):
        """The stage's rates."""
        return general_multipliers(trained, control, factor)


def _heads(cfg, params, hidden, batch):
    """Masked-LM and next-sentence logits from a last hidden state."""
    model = MobileBertForPreTraining(cfg)
    return model.apply({"params": params}, hidden, batch["masked_positions"], method="heads_on")
