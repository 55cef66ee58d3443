"""The small parts: dense layers, norms, activations, all with logical axis names.

Logical axes: vocab, position, token_type, trigram, embed (hidden width between blocks), inner (width inside a
block), heads (all heads' columns together), mlp, norm, pooled, transform, classes; `layers` is added by the stack.
Activations: batch, length, embed, inner, mlp, heads, vocab. `parallel/rules.py` says what they mean on a mesh.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.dropout import Dropout
from mobilebert_jax.utils.placement import gathered, product
from mobilebert_jax.utils.types import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_erf": lambda x: jax.nn.gelu(x, approximate=False),
}


def weight_init(cfg: ModelConfig, *axes: str) -> Callable:
    """Truncated normal at two sigma with `initializer_range` as its stddev before truncation, as TF1 has it."""

    def init(key, shape, dtype=jnp.float32):
        return cfg.initializer_range * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)

    return nn.with_logical_partitioning(init, axes)


def zeros_init(*axes: str) -> Callable:
    """Zeros, with logical axes."""
    return nn.with_logical_partitioning(nn.initializers.zeros_init(), axes)


def ones_init(*axes: str) -> Callable:
    """Ones, with logical axes."""
    return nn.with_logical_partitioning(nn.initializers.ones_init(), axes)


class Dense(nn.Module):
    """y = x W + b: the product in `cfg.dtype`, the sum with the bias and the result in float32."""

    cfg: ModelConfig
    features: int
    axes: tuple[str, str]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., in] -> [..., features] float32."""
        kernel = self.param("kernel", weight_init(self.cfg, *self.axes), (x.shape[-1], self.features))
        bias = self.param("bias", zeros_init(self.axes[1]), (self.features,))
        return self.product(x, kernel) + gathered(bias, self.axes[1:])

    def product(self, x: Array, kernel: Array) -> Array:
        """x [..., in] times a kernel [in, features], float32; no bias."""
        return product(x.astype(jnp.dtype(self.cfg.dtype)), kernel, self.axes).astype(jnp.float32)


class Norm(nn.Module):
    """`no_norm`: scale * x + bias, nothing else (paper section 3.2). `layer_norm`: the real one, in float32."""

    cfg: ModelConfig
    kind: str | None = None
    epsilon: float | None = None  # None: the config's

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., width] -> [..., width] float32."""
        scale = self.param("scale", ones_init("norm"), (x.shape[-1],))
        bias = self.param("bias", zeros_init("norm"), (x.shape[-1],))
        x = x.astype(jnp.float32)
        if (self.kind or self.cfg.normalization_type) == "layer_norm":
            x = normalise(x, self.cfg.layer_norm_eps if self.epsilon is None else self.epsilon)
        return x * gathered(scale, ("norm",)) + gathered(bias, ("norm",))


def normalise(x: Array, epsilon: float) -> Array:
    """(x - mean) / sqrt(var + epsilon) over the last axis, two passes, so that values of 1e7 keep their digits."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)


class DenseNorm(nn.Module):
    """A dense layer, dropout, an optional residual, a norm: what stands between any two widths."""

    cfg: ModelConfig
    features: int
    axes: tuple[str, str]
    dropout: float = 0.0
    epsilon: float | None = None

    @nn.compact
    def __call__(self, x: Array, residual: Array | None = None, deterministic: bool = True) -> Array:
        """[..., in] (+ residual [..., features]) -> [..., features]."""
        y = Dense(self.cfg, self.features, self.axes, name="dense")(x)
        y = Dropout(self.dropout, name="dropout")(y, deterministic=deterministic)
        return Norm(self.cfg, epsilon=self.epsilon, name="norm")(y if residual is None else y + residual)
