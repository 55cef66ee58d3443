"""Running a span model over windows, in batches of one fixed shape so that it compiles once."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mobilebert_jax.text.windows import Windows
from mobilebert_jax.utils.types import Array, Batch, Params

Predict = Callable[[Batch], tuple[Array, Array]]
"""`input_ids`, `attention_mask` and `token_type_ids`, each [B, S] int32 -> start and end logits, each [B, S]."""


def make_predictor(model: Any, params: Params) -> Predict:
    """The jitted `Predict` of a model whose output is a `SpanOutput`."""

    @jax.jit
    def forward(params: Params, batch: Batch) -> tuple[Array, Array]:
        out = model.apply({"params": params}, batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        return out.start_logits, out.end_logits

    return functools.partial(forward, params)


def predict_windows(
    predict: Predict, windows: Windows, batch_size: int, on_batch: Callable[[int], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Start and end logits `[n, S]` float32 of all windows.

    Every call of `predict` gets exactly `batch_size` windows; the last batch repeats the last window. `on_batch` hears
    after each batch how many windows are done.
    """
    logits = np.zeros((2, *windows.input_ids.shape), np.float32)
    for begin in range(0, len(windows), batch_size):
        end = min(begin + batch_size, len(windows))
        rows = np.minimum(np.arange(begin, begin + batch_size), len(windows) - 1)
        start, stop = predict(windows.batch(rows))
        logits[0, begin:end] = np.asarray(start)[: end - begin]
        logits[1, begin:end] = np.asarray(stop)[: end - begin]
        if on_batch is not None:
            on_batch(end)
    return logits[0], logits[1]
