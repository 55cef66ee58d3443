"""Sums, counts and coefficients become one scalar loss.

Every loss term is a sum and a count. Counts are taken once, over the whole global batch; each microbatch then adds
`coefficient * sum / count`, so one accumulation step equals four and nothing is divided afterwards.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.utils.types import Array


def active_coefficients(coefficients: Mapping[str, Any]) -> dict[str, Any]:
    """The coefficients that are not plainly 0; a term that is missing here need not be computed at all.

    Numbers and numpy arrays are looked at; a JAX array always stays, as it may be traced.
    """
    return {
        name: coefficient
        for name, coefficient in coefficients.items()
        if isinstance(coefficient, jax.Array) or np.any(coefficient)
    }


def term_mean(total: Array, count: Array) -> jax.Array:
    """`total / count`, float32, and 0 where the batch holds nothing to count. `total` may be per layer, [L]."""
    count = jnp.asarray(count, jnp.float32)
    return jnp.where(count > 0, total / jnp.where(count > 0, count, 1.0), 0.0)


def weighted_total(
    sums: Mapping[str, Array], counts: Mapping[str, Array], coefficients: Mapping[str, Any]
) -> jax.Array:
    """The scalar loss: `sum over terms of coefficient * sum / count`, float32.

    `coefficients` decides which terms take part; `sums` and `counts` may hold more, and may lack what is switched off.
    A term's sum and its coefficient may be per layer, [L]. A layer whose coefficient is 0 adds exactly 0, whatever
    its sum holds. Raises ValueError for a coefficient without its sum or count.
    """
    total = jnp.zeros((), jnp.float32)
    for name, coefficient in active_coefficients(coefficients).items():
        if name not in sums or name not in counts:
            raise ValueError(
                f"loss term {name!r} has a coefficient but no sum or count; "
                f"sums: {sorted(sums)}, counts: {sorted(counts)}"
            )
        coefficient = jnp.asarray(coefficient, jnp.float32)
        mean = term_mean(sums[name], counts[name])
        total += jnp.sum(jnp.where(coefficient != 0, coefficient * mean, 0.0))
    return total
