"""Running a span model over windows, in batches of a few fixed shapes so that it compiles a few times."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mobilebert_jax.text.lengths import in_order_of_length
from mobilebert_jax.text.windows import Windows
from mobilebert_jax.utils.types import Array, Batch, Params

Predict = Callable[[Batch], tuple[Array, Array]]
"""`input_ids`, `attention_mask` and `token_type_ids`, each [B, S] int32 -> start and end logits, each [B, S]."""


def span_forward(model: Any) -> Callable[[Params, Batch], tuple[Array, Array]]:
    """Jitted (parameters, batch) -> start and end logits, for parameters that change."""

    @jax.jit
    def forward(params: Params, batch: Batch) -> tuple[Array, Array]:
        out = model.apply({"params": params}, batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        return out.start_logits, out.end_logits

    return forward


def predict_windows(
    predict: Predict,
    windows: Windows,
    buckets: np.ndarray,
    batch_size: int,
    on_batch: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Start and end logits `[n, S]` float32 of all windows, 0 in the padding that a window's bucket leaves out.

    Every call of `predict` gets exactly `batch_size` windows of one of the lengths `buckets`; see `in_order_of_length`.
    `on_batch` hears after each batch how many windows are done.
    """
    logits = np.zeros((2, *windows.input_ids.shape), np.float32)
    done = 0
    for rows, count, length in in_order_of_length(windows.lengths, buckets, batch_size):
        for side, found in enumerate(predict(windows.batch(rows, length))):
            logits[side, rows[:count], :length] = np.asarray(found)[:count]
        done += count
        if on_batch is not None:
            on_batch(done)
    return logits[0], logits[1]
