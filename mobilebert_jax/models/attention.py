"""Multi-head self-attention whose queries, keys and values may come from different widths."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.dropout import Dropout
from mobilebert_jax.models.fused_attention import Kernel, fused_attention, fused_kernel
from mobilebert_jax.models.layers import Dense
from mobilebert_jax.models.masks import MASKED, Mask, key_mask
from mobilebert_jax.utils.placement import constrain
from mobilebert_jax.utils.types import Array


class SelfAttention(nn.Module):
    """Projections sized by the tensors fed, scaled dot products, softmax in float32 (paper section 3.3)."""

    cfg: ModelConfig
    in_axes: tuple[str, str, str]

    def setup(self):
        """Names the three projections."""
        query, key, value = self.in_axes
        self.query = Dense(self.cfg, self.cfg.inner_size, (query, "heads"))
        self.key = Dense(self.cfg, self.cfg.inner_size, (key, "heads"))
        self.value = Dense(self.cfg, self.cfg.inner_size, (value, "heads"))
        self.dropout = Dropout(self.cfg.attention_probs_dropout_prob, rows=2)

    def _split_heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.cfg.num_attention_heads, self.cfg.head_size).astype(self.cfg.dtype)

    def scores(self, query_input: Array, key_input: Array, attention_mask: Mask) -> Array:
        """Masked scaled dot products before the softmax, [B, N, S, S] float32."""
        query = self._split_heads(self.query(query_input))
        key = self._split_heads(self.key(key_input))
        return self._scores(query, key, attention_mask)

    def _scores(self, query: Array, key: Array, attention_mask: Mask) -> Array:
        products = jnp.einsum("bqnd,bknd->bnqk", query, key, preferred_element_type=jnp.float32)
        scores = jnp.where(key_mask(attention_mask), products * self.cfg.head_size**-0.5, MASKED)
        return constrain(scores, ("batch", "heads", "length", None))

    def __call__(
        self,
        query_input: Array,
        key_input: Array,
        value_input: Array,
        attention_mask: Mask,
        deterministic: bool,
        output_maps: bool,
    ) -> tuple[Array, Array | None, Array | None]:
        """Three [B, S, width] -> (context [B, S, inner], scores and probabilities [B, N, S, S]).

        Without `output_maps` there may be no maps: a fused kernel makes the context where there is one.
        """
        query = self._split_heads(self.query(query_input))
        key = self._split_heads(self.key(key_input))
        rate = 0.0 if deterministic else self.cfg.attention_probs_dropout_prob
        kernel = None if output_maps else self._kernel(query, attention_mask, rate)
        if kernel is not None:
            value = self._split_heads(self.value(value_input))
            seeds = self.dropout.seeds((len(query), self.cfg.num_attention_heads)) if rate else None
            return fused_attention(kernel, query, key, value, attention_mask, seeds, rate), None, None
        scores = self._scores(query, key, attention_mask)
        probs = jax.nn.softmax(scores, axis=-1)
        weights = self.dropout(probs, deterministic=deterministic).astype(self.cfg.dtype)
        value = self._split_heads(self.value(value_input))
        context = jnp.einsum("bnqk,bknd->bqnd", weights, value)
        return context.reshape(*context.shape[:2], -1), scores, probs

    def _kernel(self, query: Array, attention_mask: Mask, rate: float) -> Kernel | None:
        if self.cfg.attention_kernel == "plain":
            return None
        return fused_kernel(query.shape, query.dtype, attention_mask, drops=rate > 0)
