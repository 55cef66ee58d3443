"""Figures on held-out text: the same batches every time, means over all of them."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mobilebert_jax.objectives.terms import term_mean
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.training.alone import head_counts, inputs, pretraining_sums
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.transfer import Transfer
from mobilebert_jax.utils.placement import active
from mobilebert_jax.utils.types import Batch, Params

Evaluation = Callable[..., dict[str, Any] | None]
"""Whole parameters, and optionally "is a stop asked for?" -> figures, or None when it gave way to a stop."""


def pretraining_evaluation(
    model: nn.Module, make_batch: Callable[[int], Batch], batches: int, layout: Layout | None = None
) -> Evaluation:
    """Held-out masked-LM and, where there are pairs, next-sentence losses and accuracies of a model."""

    def sums(params: Params, batch: Batch):
        out = model.apply({"params": params}, **inputs(batch), masked_positions=batch["masked_positions"])
        return pretraining_sums(out, batch, {"next_sentence": 1.0}), head_counts(batch, False)

    make_batch, sums = _placed(layout, make_batch, sums)
    return lambda params, stop=_never: _means(lambda batch: sums(params, batch), make_batch, batches, stop)


def transfer_evaluation(
    transfer: Transfer,
    teacher: Params,
    make_batch: Callable[[int], Batch],
    batches: int,
    layout: Layout | None = None,
) -> Evaluation:
    """Held-out transfer losses of every block on the student's own walk, each a list [L]."""
    program = PairProgram(transfer, transfer.coefficients, blocks_only=True)

    def sums(params: Params, teacher: Params, batch: Batch):
        statistics = transfer.statistics(teacher, batch)
        return program.co_walk(teacher, params, batch, statistics)[2], transfer.counts(batch)

    make_batch, sums = _placed(layout, make_batch, sums)
    return lambda params, stop=_never: _means(lambda batch: sums(params, teacher, batch), make_batch, batches, stop)


def _placed(
    layout: Layout | None, make_batch: Callable[[int], Batch], sums: Callable
) -> tuple[Callable[[int], Batch], Callable]:
    """What makes batches and compiled sums of them, under a layout for the whole mesh."""
    if layout is None:
        return make_batch, jax.jit(sums)

    def place(index: int) -> Batch:
        batch = make_batch(index)
        return layout.put_batch(batch, len(batch["input_ids"]))

    def traced(*arguments):
        with active(layout):
            return sums(*arguments)

    return place, jax.jit(traced, out_shardings=layout.replicated)


def _never() -> bool:
    return False


def _means(
    sums_of: Callable, make_batch: Callable[[int], Batch], batches: int, stop: Callable[[], Any]
) -> dict[str, Any] | None:
    """Sums and counts are added up over all batches before anything is divided."""
    total_sums, total_counts = {}, {}
    for index in range(batches):
        if stop():
            return None
        sums, counts = sums_of(make_batch(index))
        for name, value in sums.items():
            total_sums[name] = total_sums.get(name, 0.0) + value
            total_counts[name] = total_counts.get(name, 0.0) + counts[name]
    means = {name: term_mean(value, total_counts[name]) for name, value in total_sums.items()}
    return {name: jnp.asarray(value).tolist() for name, value in means.items()}
