"""Attention in one kernel that never writes its maps to the device's main memory, where the platform has one.

That is `tpu_attention` on TPUs and cuDNN's on NVIDIA GPUs, both in bfloat16, and `cpu_attention`. On CPU
`jax.nn.dot_product_attention` is slower than the plain form. A kernel is none of the compiler's own operations, which
it could split over a mesh: each device runs it on its own examples and heads. Only the CPU's has dropout; elsewhere the
plain form stays where probabilities are dropped (`attention_probs_dropout_prob` in training): in the paper's recipe the
teacher's training and fine-tuning. Transfer's walks, distillation (both networks) and every evaluation take the kernel.

cuDNN adds up gradients in no fixed order unless XLA_FLAGS=--xla_gpu_deterministic_ops=true, which XLA passes on to it.
On an H200 (JAX 0.11.2) its bfloat16 outputs and gradients were within 0.3% of the plain form in float32, for heads of
16 to 256 and up to 512 tokens. `model.student.attention_kernel=plain` (and `teacher`) does without any kernel.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mobilebert_jax.models.cpu_attention import cpu_attention, fits_cpu
from mobilebert_jax.models.masks import Mask, Packed
from mobilebert_jax.models.tpu_attention import fits_tpu, tpu_attention
from mobilebert_jax.utils.placement import per_device, target_device
from mobilebert_jax.utils.types import Array

Kernel = Callable[..., Array]
"""softmax(query key^T / sqrt(D)) value: three [B, S, N D] and the rows of `mask_rows`, D -> [B, S, N D].

A query without keys sees all, as in the plain form. The CPU's also takes what `dropout.kept` takes: seeds and a rate.
"""

AMPERE, HOPPER = 8, 9
"""First numbers of compute capabilities."""

_AXES = ("batch", "length", "heads")
_ROW_AXES = ("batch", None, "length")


def fused_kernel(shape: tuple[int, ...], dtype: jnp.dtype, mask: Mask, drops: bool = False) -> Kernel | None:
    """What takes queries [B, S, N, D] with such a mask where the program will run; None: nothing does."""
    if not isinstance(mask, Packed) and mask.ndim != 2:
        return None
    device = target_device()
    if device.platform == "cpu" and fits_cpu(shape):
        return cpu_attention
    if drops:
        return None
    if device.platform == "tpu" and fits_tpu(shape, dtype):
        return tpu_attention
    if device.platform == "gpu" and fits_cudnn(shape, dtype, str(getattr(device, "compute_capability", ""))):
        return cudnn_attention
    return None


def fused_attention(
    kernel: Kernel,
    query: Array,
    key: Array,
    value: Array,
    mask: Mask,
    seeds: Array | None = None,
    rate: float = 0.0,
) -> Array:
    """Three [B, S, N, D] -> [B, S, N D]; where probabilities are dropped, at `rate` by seeds [B, N, 2]."""
    width = query.shape[3]
    arrays = [each.reshape(*each.shape[:2], -1) for each in (query, key, value)]
    arrays += mask_rows(mask)
    axes = (_AXES,) * 3 + (_ROW_AXES,) * 2

    def run(*own: Array) -> Array:
        return kernel(*own[:5], width, *((own[5], rate) if own[5:] else ()))

    if seeds is None:
        return per_device(run, arrays, axes)
    return per_device(run, [*arrays, seeds], (*axes, ("batch", "heads", None)))


def mask_rows(mask: Mask) -> tuple[Array, Array]:
    """Two int32 [B, 1, S]: a query sees the keys whose number in the first is its own, and in the second is not 0."""
    if isinstance(mask, Packed):
        pieces, tokens = mask.segment_ids, mask.attention_mask
    else:
        pieces, tokens = jnp.zeros_like(mask), mask
    return pieces[:, None].astype(jnp.int32), (tokens > 0)[:, None].astype(jnp.int32)


def fits_cudnn(shape: tuple[int, ...], dtype: jnp.dtype, compute_capability: str) -> bool:
    """What JAX asks for before it calls cuDNN: bfloat16, an even length, heads of 8, 16, ... up to 128 or 256."""
    major = compute_capability.partition(".")[0]
    if not major.isdecimal() or int(major) < AMPERE:  # ROCm has names there
        return False
    widest = 256 if int(major) >= HOPPER else 128
    length, width = shape[1], shape[3]
    return dtype == jnp.bfloat16 and length % 2 == 0 and width % 8 == 0 and width <= widest


def cudnn_attention(
    query: Array, key: Array, value: Array, pieces: Array, seen: Array, width: int, implementation: str = "cudnn"
) -> Array:
    """See `Kernel`; `implementation`: as `jax.nn.dot_product_attention` has it."""
    query, key, value = (each.reshape(*each.shape[:2], -1, width) for each in (query, key, value))
    # [B, 1, S, S]: among the forms that broadcast, cuDNN takes only this one.
    visible = ((pieces[:, 0, :, None] == pieces[:, 0, None, :]) & (seen > 0))[:, None]
    context = jax.nn.dot_product_attention(query, key, value, mask=visible, implementation=implementation)
    return context.reshape(*context.shape[:2], -1)
