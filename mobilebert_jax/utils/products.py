"""A dense layer's product on CPU: what it keeps for the way back, and its kernel's gradient in the faster form."""

import jax

from mobilebert_jax.utils.types import Array

LARGE = 512 * 128
"""Elements of a kernel from which on `cpu_product` is taken: those of MobileBERT's wide layers."""


@jax.custom_vjp
def cpu_product(x: Array, kernel: Array) -> Array:
    """x [..., in] @ kernel [in, out] in their dtype, with the gradients of JAX's own rules.

    Kept for the way back is `x` as it came, not its rows: layers with the same input keep one array, where a scan over
    blocks would otherwise stack one for each of them. For the gradient XLA takes `rows^T cotangent`. With 3,072 rows
    and a kernel [512, 128] in float32 that runs at half the rate of `cotangent^T rows`, the gradient turned round.
    """
    return (_rows(x) @ kernel).reshape(*x.shape[:-1], -1)


def _forward(x, kernel):
    return cpu_product(x, kernel), (x, kernel)


def _backward(saved, cotangent):
    x, kernel = saved
    rows, given = _rows(x), _rows(cotangent)
    to_x = jax.lax.dot_general(given, kernel, (((1,), (1,)), ((), ()))).reshape(x.shape)
    over_rows = (((0,), (0,)), ((), ()))
    if kernel.shape[0] <= kernel.shape[1]:
        return to_x, jax.lax.dot_general(rows, given, over_rows)
    # Without the barrier the compiler would turn the product itself round again.
    return to_x, jax.lax.optimization_barrier(jax.lax.dot_general(given, rows, over_rows)).T


cpu_product.defvjp(_forward, _backward)


def _rows(x):
    """[..., width] -> [N, width]: one matrix, where XLA's CPU backend is slow at a batch of them."""
    return x.reshape(-1, x.shape[-1])
