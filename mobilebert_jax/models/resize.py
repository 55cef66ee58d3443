"""Another size of the vocabulary: word table, the masked-LM head's extra table and its bias, all together."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mobilebert_jax.models.layers import weight_init
from mobilebert_jax.models.pretrained import check_params
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import map_named
from mobilebert_jax.utils.types import Params

OF_WORDS = ("word_embeddings/embedding", "masked_lm/extra_embedding", "masked_lm/output_bias")
"""The leaves with a row a word; the word table is also the masked-LM head's first half."""


def resize_vocabulary(model: nn.Module, params: Params, vocab_size: int, seed: int = 0) -> tuple[nn.Module, Params]:
    """The same model for `vocab_size` words: the first rows stay bit-equal, rows beyond are cut off, new ones fresh.

    New rows are drawn as at the start of a training (truncated normal; zeros in the bias). A table that is not there
    (no masked-LM head, or `embedding_size == hidden_size`) is not missed.

    Raises:
        UserError: no room for words, or parameters of another model.
    """
    if vocab_size < 1:
        raise UserError(f"vocab_size={vocab_size}: must be at least 1")
    check_params(model, params)
    resized = model.clone(cfg=model.cfg.replace(vocab_size=vocab_size))

    def resize(name, leaf):
        if not name.endswith(OF_WORDS):
            return leaf
        kept = leaf[:vocab_size]
        shape = (vocab_size - len(kept), *leaf.shape[1:])
        if name.endswith("bias"):
            return jnp.concatenate([kept, jnp.zeros(shape, leaf.dtype)])
        key = jax.random.fold_in(jax.random.key(seed), OF_WORDS.index(next(filter(name.endswith, OF_WORDS))))
        return jnp.concatenate([kept, nn.unbox(weight_init(model.cfg, "vocab", "embed")(key, shape))])

    return resized, map_named(resize, params)
