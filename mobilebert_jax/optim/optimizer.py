"""LAMB and AdamW as MobileBERT's original code has them, for stacked blocks and stages.

    optimizer = make_optimizer(OptimizerConfig())
    state = optimizer.init(params)
    updates, state = optimizer.update(grads, state, params, learning_rate=rate, multipliers=tree, fresh=first_step)
    params = apply_updates(params, updates, tree)

Rate, multipliers and `fresh` may be traced: one compiled step serves every stage.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mobilebert_jax.optim.masks import decay_mask
from mobilebert_jax.optim.slices import global_norm, spread
from mobilebert_jax.optim.transforms import (
    clip_by_trained_norm,
    scale_by_layer_trust_ratio,
    scale_by_moments,
    scale_by_rate_and_multipliers,
)
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Params

__all__ = ["OptimizerConfig", "apply_updates", "global_norm", "make_optimizer"]

NAMES = ("lamb", "adamw")


@dataclass(frozen=True)
class OptimizerConfig:
    """What the optimizer is; the defaults are the original's. Raises UserError for a value that makes no sense."""

    name: str = "lamb"  # "lamb" or "adamw"
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-6
    weight_decay: float = 0.01
    bias_correction: bool = False
    clip_norm: float = 1.0  # global norm over the trained parameters; 0 switches clipping off
    clip_frozen: bool = False  # the norm is taken over frozen parameters too, as in TF1

    def __post_init__(self):
        if self.name not in NAMES:
            raise UserError(f"optimizer.name={self.name!r}: right is one of {', '.join(NAMES)}")
        for field in ("b1", "b2"):
            if not 0 <= getattr(self, field) < 1:
                raise UserError(f"optimizer.{field}={getattr(self, field)}: right is a number from 0 to below 1")
        if not 0 < self.eps < math.inf:
            raise UserError(f"optimizer.eps={self.eps}: right is a number above 0, such as 1e-6")
        for field in ("weight_decay", "clip_norm"):
            if not 0 <= getattr(self, field) < math.inf:
                raise UserError(f"optimizer.{field}={getattr(self, field)}: right is a number from 0 (off) up")


def make_optimizer(config: OptimizerConfig, by_block: bool = False) -> optax.GradientTransformationExtraArgs:
    """The chain: clip, moments, decoupled weight decay, (LAMB) trust ratio, learning rate.

    `update(grads, state, params, *, learning_rate, multipliers=None, fresh=False)`: see `transforms` for the three.
    Weight decay and trust ratio leave out norms and biases by name (`masks.decays`). Decay is decoupled: added to
    Adam's direction before the trust ratio, never to the moments. All arithmetic is float32. `by_block`: the gradients
    of a stack are clipped block by block; the state is the same.
    """
    links = [
        scale_by_moments(config.b1, config.b2, config.eps, bias_correction=config.bias_correction),
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
        scale_by_rate_and_multipliers(),
    ]
    if config.clip_norm:
        links.insert(0, clip_by_trained_norm(config.clip_norm, include_frozen=config.clip_frozen, by_block=by_block))
    if config.name == "lamb":
        links.insert(-1, optax.masked(scale_by_layer_trust_ratio(), decay_mask))
    return optax.chain(*links)


def apply_updates(params: Params, updates: Any, multipliers: Any = None) -> Params:
    """`params + updates`; where a multiplier is 0 the old value itself, bit for bit (adding 0 would lose -0.0)."""
    new = jax.tree.map(lambda param, update: param + update, params, updates)
    if multipliers is None:
        return new
    return jax.tree.map(lambda m, n, old: jnp.where(spread(m, old) > 0, n, old), multipliers, new, params)
