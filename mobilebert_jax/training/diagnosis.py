"""Naming the place where the numbers stopped being finite."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.training.walks import block_mask, embed, run_block, take
from mobilebert_jax.utils.trees import is_stacked, named_leaves
from mobilebert_jax.utils.types import Array, Batch, Params


def first_nonfinite_leaf(tree: Params) -> str | None:
    """The name of the first leaf with a NaN or infinity, with its layer where the leaf is stacked."""
    for name, leaf in named_leaves(tree).items():
        leaf = np.asarray(leaf)
        if not np.isfinite(leaf).all():
            if not is_stacked(name):
                return name
            layers = np.flatnonzero(~np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1))
            return f"{name} of layer {layers[0]}"
    return None


def first_nonfinite_block(cfg: ModelConfig, encoder: Params, batch: Batch) -> str | None:
    """`embeddings` or `layer l`: the first part whose output on this batch is not finite."""
    forward = jax.jit(lambda block, hidden: run_block(cfg, block, hidden, block_mask(batch)).hidden)
    hidden = embed(cfg, encoder["embeddings"], batch)
    if not _finite(hidden):
        return "the embeddings"
    for layer in range(cfg.num_hidden_layers):
        hidden = forward(take(encoder["layers"], layer), hidden)
        if not _finite(hidden):
            return f"layer {layer}"
    return None


def explain(
    networks: dict[str, tuple[ModelConfig, Params]],
    batch: Batch,
    terms: dict[str, Array],
    gradients: Callable[[], Params],
    counts: dict[str, Array],
) -> str:
    """One phrase that says where it happened: parameters, then activations, then loss terms, then gradients.

    The loss terms that it made not finite are named with it.

    Args:
        networks: name -> (config, whole parameters) of everything the step ran.
        batch: the batch of the failing step.
        terms: the means of that step's loss terms.
        gradients: makes that step's gradients again, in the shape of the trained tree.
        counts: what the terms' sums were divided by.
    """
    bad = nonfinite_terms(terms)
    if place := _place_in_networks(networks, {name: jnp.asarray(value) for name, value in batch.items()}):
        return f"{place} (loss terms: {', '.join(bad)})" if bad else place
    if bad:
        return f"loss term {bad[0]} is not finite{_layers_of(terms[bad[0]])}"
    if uncounted := nonfinite_terms(counts):
        return f"the count of loss term {uncounted[0]} is not finite: the batch's weights or labels are at fault"
    if leaf := first_nonfinite_leaf(gradients()):
        return f"the gradient of {leaf} is not finite"
    return "the gradient norm overflows float32"


def nonfinite_terms(terms: dict[str, Array]) -> list[str]:
    """The names of the values that are not finite throughout."""
    return [name for name, value in terms.items() if not np.isfinite(value).all()]


def _place_in_networks(networks: dict[str, tuple[ModelConfig, Params]], batch: Batch) -> str | None:
    """The first parameter, or else the first part, of a network that is not finite."""
    for network, (_, params) in networks.items():
        if leaf := first_nonfinite_leaf(params):
            return f"parameter {leaf} of the {network} is not finite"
    for network, (cfg, params) in networks.items():
        if place := first_nonfinite_block(cfg, params["encoder"], batch):
            return f"the output of {place} of the {network} is not finite"
    return None


def _layers_of(values: Array) -> str:
    values = np.asarray(values)
    return "" if values.ndim == 0 else f" in layer {np.flatnonzero(~np.isfinite(values))[0]}"


def _finite(values: Array) -> bool:
    return bool(jnp.isfinite(values).all())
