"""What a token sees: which keys, which neighbours, and from where its position counts."""

import flax.struct
import jax
import jax.numpy as jnp

from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array

MASKED = float(jnp.finfo(jnp.float32).min)
"""What a masked key's score is: float32's own minimum, put there by `where`, never by adding."""


@flax.struct.dataclass
class Packed:
    """The mask of rows that hold several pieces of text, of which none sees another.

    The blocks get these two small arrays and not the [B, S, S] they stand for: each makes that anew where it needs it,
    so that no layer of a stack has to store it, and a fused kernel can take the ids as they are.
    """

    attention_mask: Array  # [B, S], 1 for tokens, 0 for padding
    segment_ids: Array  # [B, S] int, constant on each piece and different from its neighbours'


Mask = Array | Packed
"""[B, S], 1 for tokens and 0 for padding; or [B, S, S] (query, key), 1 for keys to see; or `Packed`."""


def make_mask(attention_mask: Array, segment_ids: Array | None = None) -> Mask:
    """The mask that embeddings and blocks take: `attention_mask` itself where rows are not packed.

    Raises:
        UserError: both `segment_ids` and a mask [B, S, S].
    """
    if segment_ids is None:
        return attention_mask
    if attention_mask.ndim != 2:
        raise UserError(
            f"attention_mask {list(attention_mask.shape)} with segment_ids: a mask [B, S] is needed, which keys a "
            "query sees follows from the segments"
        )
    return Packed(attention_mask, segment_ids)


def key_mask(mask: Mask) -> Array:
    """True for the keys that a query sees, [B, 1, 1 or S, S]."""
    if isinstance(mask, Packed):
        same = mask.segment_ids[:, :, None] == mask.segment_ids[:, None, :]
        return (same & (mask.attention_mask > 0)[:, None, :])[:, None]
    mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None, :, :]
    return mask > 0


def token_mask(mask: Mask) -> Array:
    """True for tokens, False for padding, [B, S]."""
    if isinstance(mask, Packed):
        return mask.attention_mask > 0
    return (mask if mask.ndim == 2 else jnp.diagonal(mask, axis1=1, axis2=2)) > 0


def position_ids(mask: Mask, length: int) -> Array:
    """How many tokens stand before each in its piece: [S] where all rows are alike, else [B, S]. Int32."""
    positions = jnp.arange(length)
    if not isinstance(mask, Packed):
        return positions
    begins = jnp.pad(~_continues(mask), ((0, 0), (1, 0)), constant_values=True)
    return positions - jax.lax.cummax(jnp.where(begins, positions, 0), axis=1)


def neighbours(words: Array, mask: Mask) -> tuple[Array, Array]:
    """The token after and the one before each, of [B, S, E]; zeros beyond the ends of a piece."""
    following = jnp.pad(_within_pieces(words[:, 1:], mask), ((0, 0), (0, 1), (0, 0)))
    previous = jnp.pad(_within_pieces(words[:, :-1], mask), ((0, 0), (1, 0), (0, 0)))
    return following, previous


def _within_pieces(words: Array, mask: Mask) -> Array:
    """Vectors that pass between neighbours, [B, S - 1, E]: zeros where these belong to two pieces."""
    return jnp.where(_continues(mask)[:, :, None], words, 0.0) if isinstance(mask, Packed) else words


def _continues(mask: Packed) -> Array:
    """True where a token belongs to the piece of the token before it, [B, S - 1]."""
    return mask.segment_ids[:, 1:] == mask.segment_ids[:, :-1]
