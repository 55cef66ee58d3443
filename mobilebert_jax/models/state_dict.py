"""A state dict, wherever its tensors lie: parameters are filled from it, one tensor at a time, or refused by name."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.folder_config import CONFIG, family_of
from mobilebert_jax.models.initialise import abstract_params, init_params
from mobilebert_jax.models.names import Stored, is_unused_tensor, standard_name, stored_as, tied_names
from mobilebert_jax.models.tensor_files import TensorHeader, Tensors, some
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import named_leaves
from mobilebert_jax.utils.types import Params

FLOATS = ("float32", "bfloat16", "float16")
"""Stored dtypes that float32 parameters hold exactly."""


@dataclasses.dataclass(frozen=True)
class StateDict:
    """Tensors under the names that transformers gives them today; the family's prefix is always there.

    Attributes:
        family: mobilebert or bert.
        headers: shape and dtype of each.
        read: the tensor of a name.
        source: where they come from, for messages.
    """

    family: str
    headers: Mapping[str, TensorHeader]
    read: Callable[[str], np.ndarray]
    source: str

    @classmethod
    def of_tensors(cls, tensors: Tensors, family: str, source: str) -> "StateDict":
        """Of a folder's files, whose older names are brought up to date; UserError when two tied tables differ."""
        stored = {standard_name(name, family): name for name in tensors.headers}
        for alias, name in tied_names(family).items():
            if alias not in stored:
                continue
            second = stored.pop(alias)
            first = stored.setdefault(name, second)
            if not np.array_equal(tensors.read(first), tensors.read(second)):
                raise UserError(f"{source}: {alias} differs from {name}; only tied tables can be loaded")
        headers = {name: tensors.headers[own] for name, own in stored.items()}
        return cls(family, headers, lambda name: tensors.read(stored[name]), source)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.read(name)


def to_state_dict(model: nn.Module, params: Params) -> dict[str, np.ndarray]:
    """The model's parameters as transformers names and lays them out, float32; so too for gradients of their shapes."""
    family, tensors = family_of(model.cfg), {}
    for name, leaf in named_leaves(params).items():
        tensors |= stored_as(name, leaf.shape, model.cfg, family).split(np.asarray(leaf, np.float32))
    if isinstance(model, MobileBert):
        tensors = {name.removeprefix(f"{family}."): tensor for name, tensor in tensors.items()}
    return tensors


def from_state_dict(
    model: nn.Module, state: StateDict, put: Callable[[str, np.ndarray], Any] = lambda name, values: jnp.asarray(values)
) -> tuple[Params, list[str]]:
    """The model's float32 parameters; pooler and head that the state dict lacks are initialised from seed 0 and named.

    `put` takes each parameter's name and values to its device or devices.

    Raises:
        UserError: encoder tensors that are missing or unexpected; tensors of another shape, no floats or not finite.
            Each is listed by name.
    """
    leaves = named_leaves(abstract_params(model))
    layout = {name: stored_as(name, leaf.shape, model.cfg, state.family) for name, leaf in leaves.items()}
    required = (f"{state.family}.embeddings.", f"{state.family}.encoder.")

    def expected(names: tuple[str, ...]) -> bool:
        """Also where a model without blocks has no tensor at all."""
        return not names or names[0] in state.headers or names[0].startswith(required)

    present = {name: stored for name, stored in layout.items() if expected(stored.names)}
    _check_fit(present, state, model.cfg)
    # One at a time: what is still on its way to the device holds its source too.
    params, wrong = {}, []
    for name, stored in present.items():
        values = stored.join(state)
        wrong += [] if np.isfinite(values).all() else [name]
        params[name] = jax.block_until_ready(put(name, values))
    _refuse_not_finite(wrong, present, state)
    absent = [name for name in layout if name not in present]
    if absent:
        params |= {name: put(name, np.asarray(values)) for name, values in _fresh(model, absent).items()}
    return flax.traverse_util.unflatten_dict(params, sep="/"), absent


def _fresh(model: nn.Module, names: list[str]) -> Params:
    """Those parameters alone as `init_params` makes them; the others are compiled away."""

    def make():
        leaves = named_leaves(init_params(model, 0))
        return {name: leaves[name] for name in names}

    return jax.jit(make)()


def _check_fit(layout: dict[str, Stored], state: StateDict, cfg: ModelConfig) -> None:
    expected = {name: stored.shape for stored in layout.values() for name in stored.names}
    there = {name: state.headers[name] for name in expected if name in state.headers}
    problems = {
        "missing": [name for name in expected if name not in there],
        "unexpected": [
            name
            for name in state.headers
            if name.startswith(f"{state.family}.") and name not in expected and not is_unused_tensor(name, cfg)
        ],
        "of the wrong shape": [
            f"{name} {header.shape} instead of {expected[name]}"
            for name, header in there.items()
            if header.shape != expected[name]
        ],
        f"of a dtype other than {', '.join(FLOATS)}": [
            f"{name} {header.dtype}" for name, header in there.items() if header.dtype not in FLOATS
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{len(names)} {what}: {some(names)}" for what, names in problems.items() if names)
        raise UserError(f"{state.source}: the tensors do not fit {CONFIG}: {found}")


def _refuse_not_finite(wrong: list[str], layout: dict[str, Stored], state: StateDict) -> None:
    """UserError that names the stored tensors with a NaN or an infinity of the parameters named."""
    stored = [name for leaf in wrong for name in layout[leaf].names if not np.isfinite(state[name]).all()]
    if stored:
        raise UserError(f"{state.source}: {len(stored)} with values that are not finite: {some(stored)}")
