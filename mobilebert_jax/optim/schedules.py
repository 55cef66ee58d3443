"""Learning rates as pure functions of the step, which may be traced. Float32 scalars."""

import jax
import jax.numpy as jnp

from mobilebert_jax.utils.types import Array


def polynomial(step: Array, *, peak: float, warmup_steps: int, total_steps: int, end_ratio: float) -> jax.Array:
    """Linear warm-up from 0 to `peak`, then the line from `peak` at step 0 to `peak * end_ratio` at `total_steps`.

    As in BERT's optimization.py: the decay counts from step 0, and the warm-up overrides it while `step` is below
    `warmup_steps` (0: none), so the rate steps down a little when the warm-up ends. Constant after `total_steps`.
    """
    total = jnp.maximum(total_steps, 1)
    remaining = _ratio(total - jnp.minimum(step, total), total)
    decay = end_ratio + (1.0 - end_ratio) * remaining
    warmup = _ratio(step, jnp.maximum(warmup_steps, 1))
    return peak * jnp.where(step < warmup_steps, warmup, decay)


def background(stage_step: Array, stage_steps: Array) -> jax.Array:
    """The factor that starts over with every transfer stage: `min(10 u, 0.9 + 0.1 sqrt(1 - u))`, u in [0, 1].

    `u = stage_step / stage_steps`. Exactly 0 at a stage's first step, near 0.995 after a tenth of it, 0.9 at its end
    (TF1's optimization.py).
    """
    u = jnp.clip(_ratio(stage_step, jnp.maximum(stage_steps, 1)), 0.0, 1.0)
    return jnp.minimum(10.0 * u, 0.9 + 0.1 * jnp.sqrt(1.0 - u))


def _ratio(numerator: Array, denominator: Array) -> jax.Array:
    return jnp.asarray(numerator, jnp.float32) / jnp.asarray(denominator, jnp.float32)
