"""How large a model's activations are on a text, layer by layer, and what that means for 16 and 8 bits."""

import dataclasses
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.models.block import Block
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.embeddings import Embeddings
from mobilebert_jax.models.folder_config import CONFIG
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, Params

FP16_LARGEST = 65504.0
INT8_LEVELS = 127
MOST = 0.5
"""Of a tensor's values that are not zero, so many may round to zero in int8 before it is named."""

BATCH = 8

REPEATS = re.compile(r"^__call__$|dropout|/norm/|^ffn_\d+/output/__call__$|^bottleneck_output/__call__$")
"""Outputs that another name in the same block has too."""


@dataclasses.dataclass(frozen=True)
class Range:
    """One tensor of one layer over the tokens of a text.

    Attributes:
        layer: -1 for the embeddings, then 0 and up.
        name: the module that gave it, or `attention/scores`.
        low, high: smallest and largest value.
        lost: share of the values that are not zero and round to zero in int8 with one symmetric scale for the tensor
            that just holds its largest magnitude. A smaller scale would keep them, and clip the largest.
    """

    layer: int
    name: str
    low: float
    high: float
    lost: float

    @property
    def overflows_fp16(self) -> bool:
        """True beyond fp16's largest number, 65504."""
        return max(-self.low, self.high) > FP16_LARGEST

    @property
    def saturates_int8(self) -> bool:
        """True when int8 must clip the largest values or lose more than half of all."""
        return self.lost > MOST

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        flags = {"overflows_fp16": self.overflows_fp16, "saturates_int8": self.saturates_int8}
        return {**dataclasses.asdict(self), **flags}


def activation_ranges(folder: str | Path, text_file: str | Path, sequence_length: int = 128) -> list[Range]:
    """Every module's output in every layer of a model folder with a tokenizer, on a text file; float32.

    The text's paragraphs are cut to `sequence_length` tokens with [CLS] and [SEP]; padding is left out.

    Raises:
        UserError: no model folder, no tokenizer, a text without words, or a length that does not fit.
    """
    model, params = from_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size > model.cfg.vocab_size:
        raise UserError(f"{folder}: the tokenizer has more pieces than the model has words ({model.cfg.vocab_size})")
    most = model.cfg.max_position_embeddings
    if not 2 < sequence_length <= most:
        raise UserError(f"--sequence_length={sequence_length}: from 3 to the model's {most} positions ({CONFIG})")
    ids, mask = _windows(tokenizer, text_file, sequence_length)
    return ranges_of(model.cfg, params, ids, mask)


def ranges_of(cfg: ModelConfig, params: Params, ids: np.ndarray, mask: np.ndarray) -> list[Range]:
    """As `activation_ranges`, of encoder parameters and batches: ids and mask [n, S] int32."""
    embed = jax.jit(partial(_embedded, cfg))
    block = jax.jit(partial(_block_statistics, cfg))
    rows = _batches(ids, mask)
    hidden = [embed(params["embeddings"], *each) for each in rows]
    pairs = zip(hidden, rows, strict=True)
    found = _merged(-1, [_statistics({"embeddings": states}, seen) for states, (_, seen) in pairs])
    for layer in range(cfg.num_hidden_layers):
        own = jax.tree.map(lambda leaf, layer=layer: leaf[layer], params["layers"])
        outputs = [block(own, states, seen) for states, (_, seen) in zip(hidden, rows, strict=True)]
        hidden = [states for states, _ in outputs]
        found += _merged(layer, [statistics for _, statistics in outputs])
    return found


def _windows(tokenizer: Tokenizer, path: str | Path, length: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        paragraphs = Path(path).read_bytes().decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"--ranges={path}: {reason}; a readable UTF-8 text file is needed") from None
    encoded = [found.ids[: length - 2] for found in tokenizer.encode_batch([p for p in paragraphs if p.strip()])]
    rows = [[tokenizer.cls_id, *own, tokenizer.sep_id] for own in encoded if own]
    if not rows:
        raise UserError(f"--ranges={path}: no words in it")
    ids = np.full((len(rows), length), tokenizer.pad_id, np.int32)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    return ids, mask


def _batches(ids: np.ndarray, mask: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows in batches of one size; the last one is filled with rows that the mask hides."""
    size = min(BATCH, len(ids))
    fill = -len(ids) % size
    ids, mask = (np.concatenate([array, np.zeros((fill, array.shape[1]), np.int32)]) for array in (ids, mask))
    return [(ids[start : start + size], mask[start : start + size]) for start in range(0, len(ids), size)]


def _embedded(cfg: ModelConfig, params: Params, ids: Array, mask: Array) -> Array:
    return Embeddings(cfg).apply({"params": params}, ids, mask, jnp.zeros_like(ids))


def _block_statistics(cfg: ModelConfig, params: Params, hidden: Array, mask: Array) -> tuple[Array, dict]:
    """The next hidden state, and statistics of every submodule's output in this block."""
    out, state = Block(cfg).apply(
        {"params": params}, hidden, mask, output_scores=True, capture_intermediates=True, mutable=["intermediates"]
    )
    captured = flax.traverse_util.flatten_dict(state["intermediates"], sep="/")
    tensors = {
        name.removesuffix("/__call__"): values[0]
        for name, values in captured.items()
        if isinstance(values[0], jax.Array) and not REPEATS.search(name)
    }
    tensors |= {"attention/scores": out.attention_scores, "block": out.hidden}
    return out.hidden, _statistics(tensors, mask)


def _statistics(tensors: dict[str, Array], mask: Array) -> dict[str, Array]:
    """For each tensor [B, S, ...] or scores [B, N, S, S]: low, high, and a histogram of the magnitudes above zero.

    Its 512 bins are an eighth of a power of two wide, from 2^-32 up: batches can be added before the scale is known.
    """
    found = {}
    for name, values in tensors.items():
        seen = mask[:, :, None] > 0
        if name == "attention/scores":
            seen = (mask[:, None, :, None] * mask[:, None, None, :]) > 0
        seen = jnp.broadcast_to(seen, values.shape)
        size = jnp.where(seen, jnp.abs(values), 0.0)
        bins = jnp.clip(jnp.floor(8 * (jnp.log2(jnp.where(size > 0, size, 1.0)) + 32)), 0, 511).astype(jnp.int32)
        counts = jnp.zeros(512, jnp.int32).at[bins.reshape(-1)].add((size > 0).reshape(-1).astype(jnp.int32))
        low, high = jnp.where(seen, values, jnp.inf).min(), jnp.where(seen, values, -jnp.inf).max()
        found[name] = {"low": low, "high": high, "counts": counts}
    return found


def _merged(layer: int, batches: Sequence[dict[str, Any]]) -> list[Range]:
    ranges = []
    for name in batches[0]:
        low = min(float(batch[name]["low"]) for batch in batches)
        high = max(float(batch[name]["high"]) for batch in batches)
        counts = sum(np.asarray(batch[name]["counts"], np.int64) for batch in batches)
        step = max(-low, high) / INT8_LEVELS
        below = int(np.clip(np.floor(8 * (np.log2(step / 2) + 32)), 0, 512)) if step > 0 else 0
        lost = float(counts[:below].sum() / max(1, counts.sum()))
        ranges.append(Range(layer, name, low, high, lost))
    return ranges
