"""What the student starts from: fresh blocks, and what it takes over from a finished teacher."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.recipes.settings import phase_seed
from mobilebert_jax.training.walks import embed
from mobilebert_jax.utils.types import Array, Batch, Params

FITTED_ON = 64
"""Examples that a norm is fitted on; every feature sees all their tokens."""


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A finished teacher and where it came from."""

    cfg: ModelConfig
    params: Params
    source: dict[str, str]  # path and fingerprint, recorded in the student's checkpoints


def initial_student(
    config: ConfigDict, cfg: ModelConfig, teacher: Teacher, make_batch: Callable[[int], Batch]
) -> Params:
    """Fresh blocks; embeddings, their norm and the heads from the teacher where the config says so and shapes agree.

    A norm is copied only between norms of one kind, and the pooler never (google-research `run_pretraining.py`).
    With `norm` in `transfer.copy`, a NoNorm is fitted to the teacher's LayerNorm on examples of the first batch,
    `make_batch(0)`, instead of staying fresh.
    """
    params = init_params(build_model(cfg, "pretraining"), phase_seed(config, "transfer"))
    copy = config.transfer.copy
    same_norm = cfg.normalization_type == teacher.cfg.normalization_type
    own, given = params["encoder"]["embeddings"], teacher.params["encoder"]["embeddings"]
    if "embeddings" in copy:
        taken = {name: value for name, value in given.items() if name != "norm" or same_norm}
        own = {name: _taken(own[name], taken.get(name)) for name in own}
    if "norm" in copy and cfg.normalization_type == "no_norm" and not same_norm:
        batch = {name: values[:FITTED_ON] for name, values in make_batch(0).items()}
        own["norm"] = fitted_norm(embed(cfg, own, batch), embed(teacher.cfg, given, batch), batch["attention_mask"])
    params["encoder"]["embeddings"] = own
    if "heads" in copy:
        for head in ("masked_lm", "next_sentence"):
            params[head] = _taken(params[head], teacher.params[head])
    return params


def fitted_norm(before: Array, wanted: Array, mask: Array) -> Params:
    """The NoNorm that brings `before` nearest to `wanted`: least squares over a batch, feature by feature.

    before and wanted [B, S, H], mask [B, S] -> scale and bias [H]. A LayerNorm divides by a deviation that hardly
    varies from token to token; a fresh NoNorm divides by nothing, and would start the student's blocks on hidden
    states many times smaller than the teacher's: their attention is then uniform and hard to teach.
    """
    weights = (mask > 0).astype(jnp.float32)[:, :, None] / jnp.sum(mask > 0)
    mean, target = jnp.sum(before * weights, (0, 1)), jnp.sum(wanted * weights, (0, 1))
    centred = before - mean
    covariance = jnp.sum(weights * centred * (wanted - target), (0, 1))
    variance = jnp.sum(weights * jnp.square(centred), (0, 1))
    scale = jnp.where(variance > 0, covariance / jnp.where(variance > 0, variance, 1.0), 1.0)
    return {"scale": scale, "bias": target - scale * mean}


def _taken(own: Params, given: Params | None) -> Params:
    """A copy of `given` if it fits in place of `own`, else `own`."""
    shapes = [jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (own, given)]
    return jax.tree.map(lambda leaf: leaf.copy(), given) if given is not None and shapes[0] == shapes[1] else own
