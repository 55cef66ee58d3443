"""Word, trigram, position and token-type embeddings (paper section 3.1; google-research `mobilebert/modeling.py`)."""

import flax.linen as nn
import jax.numpy as jnp

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.dropout import Dropout
from mobilebert_jax.models.layers import Dense, Norm, weight_init
from mobilebert_jax.models.masks import Mask, neighbours, position_ids, token_mask
from mobilebert_jax.utils.placement import constrain, gathered
from mobilebert_jax.utils.types import Array


def trigrams(words: Array, mask: Mask) -> Array:
    """[B, S, E] -> [B, S, 3E] in the released weights' order: next token, current, previous; zeros beyond the ends."""
    following, previous = neighbours(words, mask)
    return jnp.concatenate([following, words, previous], axis=-1)


class Table(nn.Module):
    """One lookup table; `embedding` is its only parameter, so that heads can tie to it by name."""

    cfg: ModelConfig
    rows: int
    width: int
    axes: tuple[str, str]

    def setup(self):
        """The table, [rows, width]."""
        self.embedding = self.param("embedding", weight_init(self.cfg, *self.axes), (self.rows, self.width))

    def __call__(self, ids: Array) -> Array:
        """Int ids [...] -> [..., width] float32."""
        return jnp.take(gathered(self.embedding, self.axes, lookup=True), ids, axis=0)


class Embeddings(nn.Module):
    """Ids to the hidden states that enter the first block."""

    cfg: ModelConfig

    def setup(self):
        """Names every part; the dense layer exists only where the widths or the trigrams ask for it."""
        cfg = self.cfg
        self.word_embeddings = Table(cfg, cfg.vocab_size, cfg.embedding_size, ("vocab", "trigram"))
        self.token_type_embeddings = Table(cfg, cfg.type_vocab_size, cfg.hidden_size, ("token_type", "embed"))
        self.position_embeddings = Table(cfg, cfg.max_position_embeddings, cfg.hidden_size, ("position", "embed"))
        if cfg.trigram_input or cfg.embedding_size != cfg.hidden_size:
            self.embedding_transformation = Dense(cfg, cfg.hidden_size, ("trigram", "embed"))
        self.norm = Norm(cfg, epsilon=cfg.outer_norm_eps)
        self.dropout = Dropout(cfg.hidden_dropout_prob)

    def __call__(
        self, input_ids: Array, attention_mask: Mask, token_type_ids: Array, deterministic: bool = True
    ) -> Array:
        """Ids, mask and types [B, S] -> [B, S, H] float32; positions count from the start of each piece of a row.

        With `zero_pad_embeddings` the padding's word vectors are zero before the trigram, so that the last token
        sees the same whether padding follows or not; the released model sees the [PAD] row there.
        """
        cfg = self.cfg
        x = constrain(self.word_embeddings(input_ids), ("batch", "length", "trigram"))
        if cfg.zero_pad_embeddings:
            x = jnp.where(token_mask(attention_mask)[:, :, None], x, 0.0)
        if cfg.trigram_input:
            x = trigrams(x, attention_mask)
        if cfg.trigram_input or cfg.embedding_size != cfg.hidden_size:
            x = self.embedding_transformation(x)
        positions = position_ids(attention_mask, input_ids.shape[1])
        x = x + self.token_type_embeddings(token_type_ids) + self.position_embeddings(positions)
        x = self.dropout(self.norm(x), deterministic=deterministic)
        return constrain(x, ("batch", "length", "embed"))
