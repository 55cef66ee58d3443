"""The peer of `bench transfer`: both networks cut at block l, the lower blocks stopped, one program a stage."""

import dataclasses

import jax

from mobilebert_jax.objectives.terms import weighted_total
from mobilebert_jax.training.program import Control
from mobilebert_jax.training.transfer import BlockProgram
from mobilebert_jax.training.walks import block_mask, embed, run_block


@dataclasses.dataclass(frozen=True, eq=False)
class TruncatedProgram(BlockProgram):
    """A stage as TF2 Model Garden builds it: the block is static, so every stage compiles anew."""

    block: int = dataclasses.field(default=0, kw_only=True)
    name: str = "truncated"

    def gradients(self, trained, rest, teacher, batch, counts, control: Control, rng):
        """Gradients of the block, and the four sums, through scans over the stacks' first blocks."""
        pair, mask = self.transfer.pair, block_mask(batch)
        mapped = pair.layer_map[self.block]
        teacher_stack, student_stack = teacher["encoder"]["layers"], rest["encoder"]["layers"]
        ht = self._first_blocks(
            pair.teacher, teacher_stack, embed(pair.teacher, teacher["encoder"]["embeddings"], batch), mask, mapped
        )
        hs = self._first_blocks(
            pair.student, student_stack, embed(pair.student, rest["encoder"]["embeddings"], batch), mask, self.block
        )
        target = run_block(pair.teacher, jax.tree.map(lambda leaf: leaf[mapped], teacher_stack), ht, mask, scores=True)

        def loss(block):
            out = run_block(pair.student, block, jax.lax.stop_gradient(hs), mask, scores=True)
            sums = self.transfer.sums(target, out, batch, None)
            return weighted_total(sums, counts, self.transfer.coefficients), sums

        return jax.grad(loss, has_aux=True)(trained)

    def _first_blocks(self, cfg, stack, hidden, mask, stop):
        first = jax.tree.map(lambda leaf: leaf[:stop], stack)
        return jax.lax.scan(lambda h, block: (run_block(cfg, block, h, mask).hidden, None), hidden, first)[0]
