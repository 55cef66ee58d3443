"""Parameters made from a seed, and what they count."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mobilebert_jax.utils.trees import count_parameters
from mobilebert_jax.utils.types import Params


def init_params(model: nn.Module, seed: int) -> Params:
    """Fresh parameters from one compiled initialiser, a nested dict of float32 arrays without axis boxes."""
    ids = jnp.zeros((1, 2), jnp.int32)
    return jax.jit(lambda key: nn.unbox(model.init(key, ids, ids, ids)["params"]))(jax.random.key(seed))


def abstract_params(model: nn.Module) -> Params:
    """The same tree as `init_params` as `jax.ShapeDtypeStruct`s; nothing is computed."""
    return jax.eval_shape(lambda: init_params(model, 0))


def logical_axes(model: nn.Module) -> Params:
    """The same tree with each parameter's logical axis names, a tuple such as ("layers", "embed", "inner")."""
    boxed = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32)))["params"]
    return jax.tree.map(lambda box: tuple(box.names), boxed, is_leaf=lambda leaf: isinstance(leaf, nn.Partitioned))


def encoder_parameter_count(model: nn.Module) -> int:
    """Scalars of embeddings and blocks, without pooler and heads: what the paper's table compares."""
    params = abstract_params(model)
    params = params.get("encoder", params)
    return count_parameters({name: params[name] for name in ("embeddings", "layers")})
