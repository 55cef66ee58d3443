"""The links of the optimizer chain: Optax transformations that know layers, frozen slices and stage starts.

Each takes what it needs of the chain's extra arguments: `learning_rate` (scalar), `multipliers` (a tree of scalars or
[L], None when everything is trained; 0 means frozen) and `fresh` (bool scalar, true at a stage's first step).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mobilebert_jax.optim.slices import block_norms, global_norm, slice_squares, spread, zero_frozen
from mobilebert_jax.utils.trees import is_stacked, map_named
from mobilebert_jax.utils.types import Array, Params


def clip_by_trained_norm(
    max_norm: float, *, include_frozen: bool = False, by_block: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Scales all gradients so that the norm over the trained parameters (or over all) is at most `max_norm`.

    `by_block`: every block of a stack by its own norm, since what one needs is nothing to the others.
    """
    norm_of = block_norms if by_block else global_norm

    def update(grads: Any, state: Any, params: Params = None, *, multipliers: Any = None, **_: Any) -> tuple[Any, Any]:
        norm = norm_of(grads, multipliers, include_frozen=include_frozen)
        factor = max_norm / jnp.maximum(norm, max_norm)
        return jax.tree.map(lambda grad: grad * spread(factor, grad), grads), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


class MomentsState(NamedTuple):
    """Adam's slots, float32 in the parameters' shapes, and the steps each slice has learned (bias correction only)."""

    mu: Any
    nu: Any
    count: Any = None


def scale_by_moments(
    b1: float, b2: float, eps: float, *, bias_correction: bool
) -> optax.GradientTransformationExtraArgs:
    """Adam's direction `m / (sqrt(v) + eps)`; without bias correction as in TF1's LAMB and BERT's AdamW.

    `fresh` zeroes the moments and counts before the update. Where the multiplier is 0 they become 0 and so does the
    update: TF1's gate. Counts are kept per slice, so a slice that starts late is corrected from its own first step.
    """

    def init(params: Params) -> MomentsState:
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), params)
        return MomentsState(zeros, jax.tree.map(jnp.copy, zeros), _zero_counts(params) if bias_correction else None)

    def update(
        grads: Any,
        state: MomentsState,
        params: Params = None,
        *,
        multipliers: Any = None,
        fresh: bool | Array = False,
        learns: bool | Array = True,
        **_: Any,
    ) -> tuple[Any, MomentsState]:
        before = state
        state = jax.tree.map(lambda slot: jnp.where(fresh, jnp.zeros_like(slot), slot), state)
        mu = jax.tree.map(lambda m, grad: b1 * m + (1.0 - b1) * grad, state.mu, grads)
        nu = jax.tree.map(lambda v, grad: b2 * v + (1.0 - b2) * jnp.square(grad), state.nu, grads)
        mu, nu = zero_frozen(mu, multipliers), zero_frozen(nu, multipliers)
        count = None
        if bias_correction:
            count = zero_frozen(jax.tree.map(lambda steps: steps + 1, state.count), multipliers)
        made = jax.tree.map(lambda new, old: jnp.where(learns, new, old), MomentsState(mu, nu, count), before)
        # What follows reads the new moments, so that they can lie where the old ones did.
        mu, nu, count = made = jax.lax.optimization_barrier(made)
        if bias_correction:
            mu, nu = _corrected(mu, count, b1), _corrected(nu, count, b2)
        return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu), made

    return optax.GradientTransformationExtraArgs(init, update)


def _zero_counts(params: Params) -> Any:
    """An int32 counter a slice: [L] for a stacked leaf, a scalar for any other."""
    return map_named(lambda name, leaf: jnp.zeros(leaf.shape[:1] if is_stacked(name) else (), jnp.int32), params)


def _corrected(moments: Any, count: Any, decay: float) -> Any:
    """`moment / (1 - decay^count)`; by expm1, because 0.999 in float32 leaves 1 - 0.999 only four good digits."""
    log_decay = math.log(decay) if decay > 0 else -math.inf

    def correct(moment: Array, steps: Array) -> jax.Array:
        steps = jnp.maximum(steps, 1)  # a frozen slice has 0 steps and 0 moments
        return moment / spread(-jnp.expm1(steps * log_decay), moment)

    return jax.tree.map(correct, moments, count)


def scale_by_layer_trust_ratio() -> optax.GradientTransformation:
    """LAMB's `||w|| / ||update||` a layer slice; 1 where either norm is 0 (no other bounds, as in the original)."""

    def scale(name: str, update: Array, param: Array) -> jax.Array:
        param_norm, update_norm = (jnp.sqrt(slice_squares(name, leaf)) for leaf in (param, update))
        usable = (param_norm > 0) & (update_norm > 0)
        ratio = jnp.where(usable, param_norm / jnp.where(usable, update_norm, 1.0), 1.0)
        return update * spread(ratio, update)

    def update(updates: Any, state: Any, params: Params = None) -> tuple[Any, Any]:
        return map_named(scale, updates, params), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def scale_by_rate_and_multipliers() -> optax.GradientTransformationExtraArgs:
    """The last link: `-learning_rate * multiplier * update`, exactly 0 where the multiplier is 0."""

    def update(
        updates: Any, state: Any, params: Params = None, *, learning_rate: Array, multipliers: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        updates = jax.tree.map(lambda leaf: -learning_rate * leaf, updates)
        if multipliers is not None:
            updates = jax.tree.map(lambda leaf, m: leaf * spread(m, leaf), updates, multipliers)
        return zero_frozen(updates, multipliers), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)
