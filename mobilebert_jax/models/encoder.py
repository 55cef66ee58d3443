"""`MobileBert`: embeddings, a stack of blocks held as one array a parameter, a pooler."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mobilebert_jax.models.block import Block
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.embeddings import Embeddings
from mobilebert_jax.models.layers import Dense
from mobilebert_jax.models.masks import Mask, make_mask
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, EncoderOutput

REMAT = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "named": jax.checkpoint_policies.save_only_these_names("attention_output", "block_output"),
}
"""What a rematerialised block keeps: nothing, its dense products, or the two tensors named in `block.py`."""


class ScannedBlock(Block):
    """A block as the body of the scan over layers; the flags are static, the carry is the hidden state."""

    deterministic: bool = True
    output_hidden_states: bool = False
    output_scores: bool = False
    output_probs: bool = False

    def __call__(self, x: Array, attention_mask: Mask):
        """[B, S, H] -> (next hidden, what this layer adds to the outputs)."""
        out = super().__call__(x, attention_mask, self.deterministic, self.output_scores, self.output_probs)
        emitted = out.replace(hidden=out.hidden if self.output_hidden_states else None)
        return out.hidden, emitted


def stacked_blocks(cfg: ModelConfig, **flags: bool) -> nn.Module:
    """All blocks under `nn.scan`, every parameter `[L, ...]`, with the config's remat policy."""
    body = ScannedBlock
    if cfg.remat != "none":
        body = nn.remat(body, policy=REMAT[cfg.remat], prevent_cse=False)
    scanned = nn.scan(
        body,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(nn.broadcast,),
        length=cfg.num_hidden_layers,
        unroll=max(min(cfg.scan_unroll, cfg.num_hidden_layers), 1),
        metadata_params={nn.PARTITION_NAME: "layers"},
    )
    return scanned(cfg, name="layers", **flags)


class Pooler(nn.Module):
    """The first token's vector; through dense and tanh where `classifier_activation` is set."""

    cfg: ModelConfig

    @nn.compact
    def __call__(self, hidden: Array) -> Array:
        """[B, S, H] -> [B, H]."""
        first = hidden[:, 0]
        if not self.cfg.classifier_activation:
            return first
        return jnp.tanh(Dense(self.cfg, self.cfg.hidden_size, ("embed", "pooled"), name="dense")(first))


class MobileBert(nn.Module):
    """The encoder of any variant, teacher and plain BERT included.

    Parameters: embeddings/..., layers/... stacked [L, ...], pooler/dense/... (with `classifier_activation`). With
    `pooling` off there is no pooler, and `pooler_output` is None.
    """

    cfg: ModelConfig
    pooling: bool = True

    def setup(self):
        """Embeddings and pooler; the stack names itself when called, its flags being static."""
        self.embeddings = Embeddings(self.cfg)
        self.pooler = Pooler(self.cfg)

    def pool(self, last_hidden_state: Array) -> Array:
        """[B, S, H] -> [B, H]."""
        return self.pooler(last_hidden_state)

    @nn.compact
    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        *,
        segment_ids: Array | None = None,
        deterministic: bool = True,
        output_hidden_states: bool = False,
        output_attention_scores: bool = False,
        output_attention_probs: bool = False,
    ) -> EncoderOutput:
        """Int arrays [B, S] -> EncoderOutput; a missing mask means all ones, missing types all zeros.

        `segment_ids`: where a row holds several pieces of text, 1, 2, ... for the tokens of each and 0 for padding (not
        BERT's segments, which are `token_type_ids`). Each piece is then encoded as it would be in a row of its own.

        Raises:
            UserError: more tokens than `max_position_embeddings`, or `segment_ids` with a mask that is not [B, S].
        """
        if input_ids.shape[1] > self.cfg.max_position_embeddings:
            raise UserError(
                f"input_ids has {input_ids.shape[1]} tokens: the model has "
                f"max_position_embeddings={self.cfg.max_position_embeddings}"
            )
        attention_mask = jnp.ones_like(input_ids) if attention_mask is None else attention_mask
        token_type_ids = jnp.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        mask = make_mask(attention_mask, segment_ids)
        embedded = self.embeddings(input_ids, mask, token_type_ids, deterministic)
        blocks = stacked_blocks(
            self.cfg,
            deterministic=deterministic,
            output_hidden_states=output_hidden_states,
            output_scores=output_attention_scores,
            output_probs=output_attention_probs,
        )
        last, emitted = blocks(embedded, mask)
        return EncoderOutput(
            last_hidden_state=last,
            pooler_output=self.pooler(last) if self.pooling else None,
            hidden_states=jnp.concatenate([embedded[None], emitted.hidden]) if output_hidden_states else None,
            attention_scores=emitted.attention_scores,
            attention_probs=emitted.attention_probs,
        )
