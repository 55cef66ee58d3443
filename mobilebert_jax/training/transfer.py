"""Knowledge transfer at the cost it must have: one block at a time (`block`), or the blocks up to one (`prefix`)."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from mobilebert_jax.objectives.terms import weighted_total
from mobilebert_jax.objectives.transfer import transfer_counts, transfer_sums
from mobilebert_jax.optim.masks import multiplier_tree
from mobilebert_jax.training.program import Control
from mobilebert_jax.training.walks import (
    Pair,
    block_mask,
    embed,
    layer_statistics,
    put,
    run_block,
    take,
    walk,
    walk_storing,
)
from mobilebert_jax.utils.placement import of_teacher
from mobilebert_jax.utils.types import Array, Batch, BlockOutput, Params


@dataclasses.dataclass(frozen=True, eq=False)
class Transfer:
    """A pair and the coefficients of its transfer terms: hidden, mean, variance, attention."""

    pair: Pair
    coefficients: Mapping[str, float]

    def counts(self, batch: Batch) -> dict[str, Array]:
        """What the terms are divided by, from the whole batch."""
        heads = self.pair.student.num_attention_heads
        return transfer_counts(batch["attention_mask"], heads, tf1_compat=self.pair.tf1_compat)

    def statistics(self, teacher: Params, batch: Batch) -> tuple[Array, Array] | None:
        """What TF1 compares the student's means and variances with; None for the paired block alone."""
        if not self.pair.tf1_compat:
            return None
        with of_teacher():
            return layer_statistics(self.pair.teacher, teacher["encoder"], batch)

    def target(self, teacher: Params, batch: Batch, block: Array) -> BlockOutput:
        """The output and scores of the teacher's block that student block `block` imitates."""
        stack, mask = teacher["encoder"]["layers"], block_mask(batch)
        mapped = jnp.asarray(self.pair.layer_map)[block]
        with of_teacher():
            hidden = embed(self.pair.teacher, teacher["encoder"]["embeddings"], batch)
            hidden = walk(self.pair.teacher, stack, hidden, mask, 0, mapped)
            return run_block(self.pair.teacher, take(stack, mapped), hidden, mask, scores=True)

    def sums(self, target: BlockOutput, out: BlockOutput, batch: Batch, statistics) -> dict[str, Array]:
        """The four sums of one pair of blocks."""
        mask, compat = batch["attention_mask"], self.pair.tf1_compat
        sums = transfer_sums(target, out, mask, teacher_statistics=statistics, tf1_compat=compat)
        return {name: value for name, value in sums.items() if self.coefficients.get(name)}


@dataclasses.dataclass(frozen=True, eq=False)
class BlockProgram:
    """One block learns, everything else is read only (hard freezing, the paper's stage with lower blocks frozen).

    The teacher walks 0..l and the student 0..l-1, forward only and with dynamic trip counts; block l alone is
    differentiated. The trained tree is that block, without a layer axis: no other block has optimizer slots.
    """

    transfer: Transfer
    name: str = "block"
    one_block: ClassVar[bool] = True
    independent: ClassVar[bool] = False
    updates: ClassVar[int] = 1

    def part(self, tree: Params) -> Params:
        """The stack."""
        return tree["encoder"]["layers"]

    def cut(self, params: Params, block: int) -> tuple[Params, Params]:
        """(block `block`, the whole student)."""
        return _take_jit(self.part(params), block), params

    def join(self, trained: Params, rest: Params, block: int) -> Params:
        """The student with the block written back."""
        encoder = rest["encoder"]
        return {**rest, "encoder": {**encoder, "layers": _put_jit(encoder["layers"], trained, block)}}

    def counts(self, batch: Batch) -> dict[str, Array]:
        """See `Transfer.counts`."""
        return self.transfer.counts(batch)

    def gradients(self, trained, rest, teacher, batch, counts, control: Control, rng):
        """Gradients of the block, and the four sums."""
        cfg, mask = self.transfer.pair.student, block_mask(batch)
        target = self.transfer.target(teacher, batch, control.block)
        statistics = self.transfer.statistics(teacher, batch)
        hidden = embed(cfg, rest["encoder"]["embeddings"], batch)
        hidden = walk(cfg, rest["encoder"]["layers"], hidden, mask, 0, control.block)
        weight = control.block_weights[control.block]

        def loss(block):
            out = run_block(cfg, block, hidden, mask, scores=True)
            sums = self.transfer.sums(target, out, batch, statistics)
            return weight * weighted_total(sums, counts, self.transfer.coefficients), sums

        return jax.grad(loss, has_aux=True)(trained)

    def multipliers(self, trained, control: Control, factor):
        """One number for the whole block."""
        return jax.tree.map(lambda _: control.block_rates[control.block] * factor, trained)


@dataclasses.dataclass(frozen=True, eq=False)
class PrefixProgram:
    """Blocks 0..l learn from block l's loss (soft freezing: the lower ones at a fraction of the rate).

    The teacher stays outside anything differentiated. The student's forward walk stores what enters each block; the
    walk back takes one block's vector-Jacobian product at a time, so attention maps exist for one block only and work
    above block l is never done. `with_embeddings` carries the gradient on into the embeddings, whose multiplier is 0:
    TF1 counts it in the clipping norm.
    """

    transfer: Transfer
    with_embeddings: bool = False
    name: str = "prefix"
    one_block: ClassVar[bool] = False
    independent: ClassVar[bool] = False
    updates: ClassVar[int] = 1

    def part(self, tree: Params) -> Params:
        """The stack, and the embeddings where asked for."""
        parts = ("embeddings", "layers") if self.with_embeddings else ("layers",)
        return {part: tree["encoder"][part] for part in parts}

    def cut(self, params: Params, block: int) -> tuple[Params, Params]:
        """(the stack, and the embeddings where asked for; the whole student)."""
        return self.part(params), params

    def join(self, trained: Params, rest: Params, block: int) -> Params:
        """The student with the trained parts in their places."""
        return {**rest, "encoder": {**rest["encoder"], **trained}}

    def counts(self, batch: Batch) -> dict[str, Array]:
        """See `Transfer.counts`."""
        return self.transfer.counts(batch)

    def gradients(self, trained, rest, teacher, batch, counts, control: Control, rng):
        """Gradients of the stack, zero above block l, and block l's four sums."""
        cfg, mask, top = self.transfer.pair.student, block_mask(batch), control.block
        target = self.transfer.target(teacher, batch, top)
        statistics = self.transfer.statistics(teacher, batch)
        stack, weight = trained["layers"], control.block_weights[top]
        embeddings = trained.get("embeddings", rest["encoder"]["embeddings"])
        embedded, embedding_vjp = jax.vjp(lambda tree: embed(cfg, tree, batch), embeddings)
        hidden, inputs = walk_storing(cfg, stack, embedded, mask, top)

        def loss(block, x):
            out = run_block(cfg, block, x, mask, scores=True)
            sums = self.transfer.sums(target, out, batch, statistics)
            return weight * weighted_total(sums, counts, self.transfer.coefficients), sums

        (top_grads, cotangent), sums = jax.grad(loss, argnums=(0, 1), has_aux=True)(take(stack, top), hidden)
        grads = put(jax.tree.map(jnp.zeros_like, stack), top_grads, top)
        grads, cotangent = self._walk_back(stack, inputs, mask, top, grads, cotangent)
        if self.with_embeddings:
            return {"embeddings": embedding_vjp(cotangent)[0], "layers": grads}, sums
        return {"layers": grads}, sums

    def _walk_back(self, stack, inputs, mask, top, grads, cotangent):
        """From block top-1 down to 0: each block's gradients, and the cotangent of what entered block 0."""
        cfg = self.transfer.pair.student

        def body(step, carry):
            grads, cotangent = carry
            index = top - 1 - step
            _, vjp = jax.vjp(lambda block, x: run_block(cfg, block, x, mask).hidden, take(stack, index), inputs[index])
            block_grads, cotangent = vjp(cotangent)
            return put(grads, block_grads, index), cotangent

        return jax.lax.fori_loop(0, top, body, (grads, cotangent))

    def multipliers(self, trained, control: Control, factor):
        """The stage's rates a block; 0 for the embeddings."""
        return multiplier_tree(trained, [("layers/.*", control.block_rates * factor), ("embeddings/.*", 0.0)])


_take_jit = jax.jit(take)
_put_jit = jax.jit(put)
