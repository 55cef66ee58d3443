"""One block: bottleneck in, attention, stacked FFNs, bottleneck out (paper figure 1)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from mobilebert_jax.models.attention import SelfAttention
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.layers import ACTIVATIONS, Dense, DenseNorm
from mobilebert_jax.models.masks import Mask
from mobilebert_jax.utils.placement import constrain
from mobilebert_jax.utils.types import Array, BlockOutput


class FeedForward(nn.Module):
    """norm(dense(act(dense(y))) + y), at the block's inner width."""

    cfg: ModelConfig
    dropout: float = 0.0
    epsilon: float | None = None

    @nn.compact
    def __call__(self, y: Array, deterministic: bool = True) -> Array:
        """[B, S, inner] -> [B, S, inner]."""
        cfg = self.cfg
        grown = ACTIVATIONS[cfg.hidden_act](Dense(cfg, cfg.intermediate_size, ("inner", "mlp"), name="intermediate")(y))
        grown = constrain(grown, ("batch", "length", "mlp"))
        shrink = DenseNorm(cfg, cfg.inner_size, ("mlp", "inner"), self.dropout, self.epsilon, name="output")
        return shrink(grown, residual=y, deterministic=deterministic)


class Block(nn.Module):
    """A transformer block of any variant; its parameters carry no layer axis, the stack adds it.

    Without bottlenecks the hidden dropout sits after the attention output and after the last FFN, as in BERT;
    with them only after the output bottleneck, as in the reference.
    """

    cfg: ModelConfig

    def setup(self):
        """Names every part; the parts a variant lacks do not exist."""
        cfg = self.cfg
        inner = "inner" if cfg.use_bottleneck else "embed"
        plain_dropout = 0.0 if cfg.use_bottleneck else cfg.hidden_dropout_prob
        if cfg.use_bottleneck:
            self.bottleneck_input = DenseNorm(cfg, cfg.inner_size, ("embed", "inner"))
            self.bottleneck_output = DenseNorm(cfg, cfg.hidden_size, ("inner", "embed"), cfg.hidden_dropout_prob)
        if cfg.shared_query_key:
            self.bottleneck_attention = DenseNorm(cfg, cfg.inner_size, ("embed", "inner"))
        value = "inner" if cfg.use_bottleneck_attention else "embed"
        query = "inner" if cfg.use_bottleneck_attention or cfg.shared_query_key else "embed"
        self.attention = SelfAttention(cfg, (query, query, value))
        self.attention_output = DenseNorm(cfg, cfg.inner_size, ("heads", inner), plain_dropout)
        last = cfg.num_feedforward_networks - 1
        self.ffn = [FeedForward(cfg) for _ in range(last)] + [FeedForward(cfg, plain_dropout, cfg.outer_norm_eps)]

    def _attention_inputs(self, x: Array) -> tuple[Array, Array, Array]:
        """The residual inside the block, what queries and keys are made from, what values are made from."""
        h = self.bottleneck_input(x) if self.cfg.use_bottleneck else x
        if self.cfg.use_bottleneck_attention:
            return h, h, h
        if self.cfg.shared_query_key:
            return h, self.bottleneck_attention(x), x
        return h, x, x

    def attention_scores(self, x: Array, attention_mask: Mask) -> Array:
        """The block's masked pre-softmax scores alone, [B, N, S, S]: what attention transfer compares."""
        _, query_key, _ = self._attention_inputs(x)
        return self.attention.scores(query_key, query_key, attention_mask)

    def __call__(
        self,
        x: Array,
        attention_mask: Mask,
        deterministic: bool = True,
        output_scores: bool = False,
        output_probs: bool = False,
    ) -> BlockOutput:
        """[B, S, H] float32 -> BlockOutput."""
        h, query_key, value = self._attention_inputs(x)
        maps = output_scores or output_probs
        context, scores, probs = self.attention(query_key, query_key, value, attention_mask, deterministic, maps)
        y = checkpoint_name(self.attention_output(context, residual=h, deterministic=deterministic), "attention_output")
        for network in self.ffn:
            y = network(y, deterministic=deterministic)
        if self.cfg.use_bottleneck:
            y = self.bottleneck_output(y, residual=x, deterministic=deterministic)
        y = checkpoint_name(constrain(y, ("batch", "length", "embed")), "block_output")
        return BlockOutput(y.astype(jnp.float32), scores if output_scores else None, probs if output_probs else None)
