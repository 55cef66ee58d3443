"""The reference of `bench transfer`: both networks whole, in linen's own dense layers."""

import dataclasses

import flax.linen as nn

from mobilebert_jax.models.layers import Dense
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.program import Control


@dataclasses.dataclass(frozen=True, eq=False)
class PlainProgram(PairProgram):
    """`PairProgram` as a first port writes it: the same parameters and numbers, `nn.Dense` for every dense layer.

    On CPU, XLA's weight gradient of a [B, S, in] activation takes about twice as long as that of our [B * S, in] rows.
    """

    name: str = "plain"

    def gradients(self, trained, rest, teacher, batch, counts, control: Control, rng):
        """See `PairProgram.gradients`."""
        with nn.intercept_methods(linen_dense):
            return super().gradients(trained, rest, teacher, batch, counts, control, rng)


def linen_dense(call, args, kwargs, context):
    """An interceptor that has linen compute what our `Dense` would."""
    module = context.module
    if not isinstance(module, Dense) or context.method_name != "__call__":
        return call(*args, **kwargs)
    params = {name: module.get_variable("params", name) for name in ("kernel", "bias")}
    return nn.Dense(module.features, parent=None).apply({"params": params}, *args, **kwargs)
