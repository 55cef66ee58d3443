"""Walking block stacks as plain functions of their stacked parameters: the pieces every stage is made of."""

import dataclasses

import jax
import jax.numpy as jnp

from mobilebert_jax.models.block import Block
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.embeddings import Embeddings
from mobilebert_jax.models.masks import Mask, make_mask
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.placement import constrain
from mobilebert_jax.utils.types import Array, Batch, BlockOutput, Params


@dataclasses.dataclass(frozen=True)
class Pair:
    """A teacher, a student and which teacher block each student block imitates.

    Raises:
        UserError: the two cannot be compared: unequal hidden sizes or heads, or a layer map that does not ascend.
    """

    teacher: ModelConfig
    student: ModelConfig
    layer_map: tuple[int, ...]
    tf1_compat: bool = False

    def __post_init__(self):
        for name in ("hidden_size", "num_attention_heads", "vocab_size"):
            if getattr(self.teacher, name) != getattr(self.student, name):
                raise UserError(
                    f"student.{name}={getattr(self.student, name)}: must equal the teacher's "
                    f"{getattr(self.teacher, name)}, their outputs are compared"
                )
        blocks, teacher_blocks = self.student.num_hidden_layers, self.teacher.num_hidden_layers
        for name, count in (("teacher", teacher_blocks), ("student", blocks)):
            if not count:
                raise UserError(
                    f"model.{name}.num_hidden_layers=0: without blocks there is nothing to transfer; only "
                    "transfer.strategy=none does without"
                )
        ascending = all(a < b for a, b in zip(self.layer_map, self.layer_map[1:], strict=False))
        inside = all(0 <= index < teacher_blocks for index in self.layer_map)
        if len(self.layer_map) != blocks or not ascending or not inside:
            raise UserError(
                f"transfer.layer_map={self.layer_map}: {blocks} ascending teacher blocks from 0 to "
                f"{teacher_blocks - 1} are needed, one for each block of the student"
            )

    @property
    def skips(self) -> bool:
        """Whether the layer map leaves out teacher blocks below its last one."""
        return self.layer_map != tuple(range(len(self.layer_map)))


def default_layer_map(teacher: ModelConfig, student: ModelConfig) -> tuple[int, ...]:
    """Every student block imitates the last of an equal share of teacher blocks, e.g. 6 of 24: 3, 7, ... 23."""
    blocks = student.num_hidden_layers
    return tuple((index + 1) * teacher.num_hidden_layers // blocks - 1 for index in range(blocks))


def block_mask(batch: Batch) -> Mask:
    """What embeddings and blocks take as their mask; loss terms count by the batch's `attention_mask`."""
    return make_mask(batch["attention_mask"], batch.get("segment_ids"))


def embed(cfg: ModelConfig, embeddings: Params, batch: Batch) -> Array:
    """The hidden state that enters block 0, [B, S, H], without dropout."""
    module = Embeddings(cfg)
    return module.apply({"params": embeddings}, batch["input_ids"], block_mask(batch), batch["token_type_ids"])


def run_block(cfg: ModelConfig, block: Params, hidden: Array, mask: Mask, scores: bool = False) -> BlockOutput:
    """One block on its own parameters (no layer axis), without dropout."""
    return Block(cfg).apply({"params": block}, hidden, mask, output_scores=scores)


def block_scores(cfg: ModelConfig, block: Params, hidden: Array, mask: Mask) -> Array:
    """One block's attention scores alone, [B, N, S, S], from the hidden state that enters it."""
    return Block(cfg).apply({"params": block}, hidden, mask, method="attention_scores")


def take(stack: Params, index: Array | int) -> Params:
    """Block `index` cut out of a stack; the index may be traced."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), stack)


def put(stack: Params, block: Params, index: Array | int) -> Params:
    """The stack with `block` in place of its block `index`."""
    return jax.tree.map(lambda leaf, new: jax.lax.dynamic_update_index_in_dim(leaf, new, index, 0), stack, block)


def walk(cfg: ModelConfig, stack: Params, hidden: Array, mask: Mask, start: Array | int, stop: Array | int) -> Array:
    """Forward through blocks start..stop-1; both may be traced, so one program serves every stage."""
    return jax.lax.fori_loop(start, stop, lambda i, h: run_block(cfg, take(stack, i), h, mask).hidden, hidden)


def walk_storing(cfg: ModelConfig, stack: Params, hidden: Array, mask: Mask, stop: Array) -> tuple[Array, Array]:
    """`walk` from block 0 that also returns what entered each block, [L, B, S, H], zeros from `stop` on."""
    inputs = jnp.zeros((cfg.num_hidden_layers, *hidden.shape), hidden.dtype)
    inputs = constrain(inputs, ("layers", "batch", "length", "embed"))

    def body(index, carry):
        hidden, inputs = carry
        inputs = jax.lax.dynamic_update_index_in_dim(inputs, hidden, index, 0)
        return run_block(cfg, take(stack, index), hidden, mask).hidden, inputs

    return jax.lax.fori_loop(0, stop, body, (hidden, inputs))


def layer_statistics(cfg: ModelConfig, encoder: Params, batch: Batch) -> tuple[Array, Array]:
    """Feature means and population variances of the embeddings' output and of every block, each [L + 1, B, S].

    TF1's loss compares each student block with all of them, see `objectives.transfer`.
    """
    mask = block_mask(batch)

    def body(hidden, block):
        hidden = run_block(cfg, block, hidden, mask).hidden
        return hidden, (hidden.mean(-1), hidden.var(-1))

    first = embed(cfg, encoder["embeddings"], batch)
    _, (means, variances) = jax.lax.scan(body, first, encoder["layers"])
    return jnp.concatenate([first.mean(-1)[None], means]), jnp.concatenate([first.var(-1)[None], variances])
