"""Parameters on their way into a product, and their gradients on the way back, by rules that JAX would not choose.

JAX's own rule for `x @ kernel.astype(bfloat16)` gives a bfloat16 gradient, which is then added up between devices as
such, and keeps the gathered kernels of all layers for the way back.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from mobilebert_jax.utils.types import Array

Shardings = tuple[NamedSharding, ...]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def gathered(param: Array, computed: NamedSharding, back: NamedSharding) -> Array:
    """A parameter moved to `computed`; its gradient is summed straight into `back`."""
    return jax.lax.with_sharding_constraint(param, computed)


def _gathered_forward(param, computed, back):
    return gathered(param, computed, back), None


def _gathered_backward(computed, back, _, cotangent):
    return (jax.lax.with_sharding_constraint(cotangent, back),)


gathered.defvjp(_gathered_forward, _gathered_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def product(rows: Array, kernel: Array, computed: NamedSharding, stored: NamedSharding) -> Array:
    """rows [N, in] @ kernel [in, out] in the dtype of `rows`.

    The kernel is cast before it is gathered, and gathered again on the way back instead of being kept. Its gradient
    leaves the product as float32, so that what is added up between devices is float32 too: with JAX's own rule it
    would be the dtype of `rows`.
    """
    return rows @ _cast_and_gathered(kernel, rows.dtype, computed)


def _cast_and_gathered(kernel, dtype, computed):
    return jax.lax.with_sharding_constraint(kernel.astype(dtype), computed)


def _product_forward(rows, kernel, computed, stored):
    return product(rows, kernel, computed, stored), (rows, kernel)


def _product_backward(computed, stored, kept, cotangent):
    rows, kernel = kept
    weights = _cast_and_gathered(kernel, rows.dtype, computed)
    to_rows = jax.lax.dot_general(cotangent, weights, (((1,), (1,)), ((), ()))).astype(rows.dtype)
    to_kernel = jax.lax.dot_general(rows, cotangent, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)
    return to_rows, jax.lax.with_sharding_constraint(to_kernel.astype(kernel.dtype), stored)


product.defvjp(_product_forward, _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def table_product(x: Array, tables: tuple[Array, ...], computed: Shardings, stored: Shardings) -> Array:
    """x [B, P, H] against the rows of tables [V, ...] side by side, [B, P, V] float32; gradients as in `product`."""
    return _against(x, _side_by_side(x, tables, computed))


def _against(x, table):
    return jnp.einsum("bph,vh->bpv", x, table, preferred_element_type=jnp.float32)


def _side_by_side(x, tables, computed):
    parts = zip(tables, computed, strict=True)
    return jnp.concatenate([_cast_and_gathered(table, x.dtype, to) for table, to in parts], axis=1)


def _table_forward(x, tables, computed, stored):
    return table_product(x, tables, computed, stored), (x, tables)


def _table_backward(computed, stored, kept, cotangent):
    x, tables = kept
    table = _side_by_side(x, tables, computed)
    to_x = jnp.einsum("bpv,vh->bph", cotangent, table, preferred_element_type=jnp.float32).astype(x.dtype)
    # Each table's own columns: cutting the sum of both apart would move parts of it between devices.
    ends = [sum(each.shape[1] for each in tables[: index + 1]) for index in range(len(tables))]
    columns = [x[..., end - each.shape[1] : end] for each, end in zip(tables, ends, strict=True)]
    sums = [jnp.einsum("bpv,bph->vh", cotangent, own, preferred_element_type=jnp.float32) for own in columns]
    return to_x, tuple(map(jax.lax.with_sharding_constraint, sums, stored))


table_product.defvjp(_table_forward, _table_backward)
