"""Where arrays lie while a program is traced: models name axes, an active placement says what the names mean.

Without an active placement everything here is the plain operation, and the traced program is that of one device.
A placement is entered inside the traced function, because it belongs to a thread and tracing may have its own.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp

from mobilebert_jax.utils.products import LARGE, cpu_product
from mobilebert_jax.utils.types import Array

Axes = Sequence[str | None]
"""Logical names of an array's axes; None for one that is never split."""

TRAINED, TEACHER = "trained", "teacher"
"""The networks that a placement may treat differently: what learns, and what it learns from."""


class Placement(Protocol):
    """What gives names a meaning; `network` is TRAINED or TEACHER."""

    def activation(self, x: Array, axes: Axes, network: str) -> Array:
        """`x`, laid out as its axes' names say."""

    def parameter(self, param: Array, axes: Axes, lookup: bool, network: str) -> Array:
        """A parameter as stored -> as computed with; its gradient is laid out as stored."""

    def product(self, rows: Array, kernel: Array, axes: Axes, network: str) -> Array:
        """`rows [N, in] @ kernel [in, out]` in the dtype of `rows`; the kernel's gradient is a float32 sum."""

    def table_product(self, x: Array, tables: Sequence[Array], axes: Sequence[Axes], network: str) -> Array:
        """`table_product` below, with the same promise for the tables' gradients."""

    def per_device(
        self, function: Callable[..., Array], arrays: Sequence[Array], axes: Sequence[Axes], network: str
    ) -> Array:
        """`per_device` below."""

    @property
    def device(self) -> jax.Device:
        """One of those that the program will run on."""


_active: contextvars.ContextVar[Placement | None] = contextvars.ContextVar("placement", default=None)
_network: contextvars.ContextVar[str] = contextvars.ContextVar("network", default=TRAINED)


@contextlib.contextmanager
def active(placement: Placement | None) -> Iterator[None]:
    """Traces what is inside under `placement`; None: on one device."""
    token = _active.set(placement)
    try:
        yield
    finally:
        _active.reset(token)


@contextlib.contextmanager
def of_teacher() -> Iterator[None]:
    """What is inside is the teacher's, not the trained network's; profiles and compiled texts name it so too."""
    token = _network.set(TEACHER)
    try:
        with jax.named_scope(TEACHER):
            yield
    finally:
        _network.reset(token)


def constrain(x: Array, axes: Axes) -> Array:
    """An activation, laid out as its axes' names say; every traced loop body needs it on what it carries."""
    placement = _active.get()
    return x if placement is None else placement.activation(x, axes, _network.get())


def gathered(param: Array, axes: Axes, lookup: bool = False) -> Array:
    """A parameter as it is computed with; `lookup`: its first axis is indexed, and therefore whole."""
    placement = _active.get()
    return param if placement is None else placement.parameter(param, axes, lookup, _network.get())


def product(x: Array, kernel: Array, axes: Axes) -> Array:
    """x [..., in] @ kernel [in, out] in the dtype of `x`; the kernel is cast before it travels."""
    placement = _active.get()
    if placement is None and kernel.size >= LARGE and target_device().platform == "cpu":
        return cpu_product(x, kernel.astype(x.dtype))
    rows = x.reshape(-1, x.shape[-1])
    plain = placement is None
    made = rows @ kernel.astype(x.dtype) if plain else placement.product(rows, kernel, axes, _network.get())
    return made.reshape(*x.shape[:-1], -1)


def table_product(x: Array, tables: Sequence[Array], axes: Sequence[Axes]) -> Array:
    """x [B, P, H] against every row of tables [V, E], [V, H - E] side by side, or of one [V, H]: [B, P, V] float32.

    The tables are cast to the dtype of `x`.
    """
    placement = _active.get()
    if placement is not None:
        return placement.table_product(x, tables, axes, _network.get())
    table = tables[0] if len(tables) == 1 else jnp.concatenate(tables, axis=1)
    return jnp.einsum("bph,vh->bpv", x, table.astype(x.dtype), preferred_element_type=jnp.float32)


def per_device(function: Callable[..., Array], arrays: Sequence[Array], axes: Sequence[Axes]) -> Array:
    """`function(*arrays)`, which each device computes from its own parts alone; its result is as the first array.

    For what the compiler cannot split by itself, and what needs nothing of the others along the axes that are split.
    """
    placement = _active.get()
    if placement is None:
        return function(*arrays)
    return placement.per_device(function, arrays, axes, _network.get())


def target_device() -> jax.Device:
    """A device of the kind that the traced program will run on; it need not be there."""
    placement = _active.get()
    return jax.local_devices()[0] if placement is None else placement.device
