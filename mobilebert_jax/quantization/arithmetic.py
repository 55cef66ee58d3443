"""A model that multiplies otherwise: the one place that tells dense layers and tables how to compute.

The models themselves know nothing of it. Linen hands every call of a layer to the arithmetic first, also within the
scan over stacked blocks; so a kernel may be any pytree whose arrays are stacked.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.embeddings import Table
from mobilebert_jax.models.heads import Linear, MaskedLM
from mobilebert_jax.models.layers import Dense
from mobilebert_jax.utils.types import Array

Product = Callable[[Array, Array], Array]
"""x [..., in] and a float32 kernel [in, out] -> [..., out] float32, as the layer itself multiplies."""


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """What is computed with a kernel and with a table, whatever these are in the tree of parameters.

    Attributes:
        product: (x [..., in], kernel, the layer's own `Product`) -> [..., out] float32, without the bias.
        lookup: (table, ids [...], the layer's own lookup of ids) -> [..., width] float32.
        dense_table: a table -> [rows, width] float32, for the masked-LM head, which multiplies with it.
    """

    product: Callable[[Array, Any, Product], Array]
    lookup: Callable[[Any, Array, Callable[[Array], Array]], Array]
    dense_table: Callable[[Any], Array]


@dataclasses.dataclass(frozen=True)
class Computing:
    """A model whose layers compute by `arithmetic`; `apply` is the model's own."""

    model: nn.Module
    arithmetic: Arithmetic

    @property
    def cfg(self) -> ModelConfig:
        """The model's."""
        return self.model.cfg

    def apply(self, variables: Any, *args: Any, **options: Any) -> Any:
        """The model's outputs."""
        with nn.intercept_methods(self._call):
            return self.model.apply(variables, *args, **options)

    def _call(self, usual: Callable[..., Any], args: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
        """A layer's call, or `usual` of whatever is no layer."""
        module = context.module
        if context.method_name != "__call__":
            return usual(*args, **options)
        if isinstance(module, Dense | Linear):
            kernel, bias = (module.get_variable("params", name) for name in ("kernel", "bias"))
            return self.arithmetic.product(*args, kernel, module.product) + bias
        if isinstance(module, Table):
            return self.arithmetic.lookup(module.embedding, *args, usual)
        if isinstance(module, MaskedLM):
            hidden, table = args
            return usual(hidden, self.arithmetic.dense_table(table))
        return usual(*args, **options)
