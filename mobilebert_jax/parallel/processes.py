"""What the processes of one run tell each other, through JAX's coordination service and over the devices.

Only this file knows JAX's key-value store, which has no public name yet. Every process calls these functions in the
same order. A process that dies is noticed by the service, which then ends the others: no wait here is for ever.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed
from jax.experimental import multihost_utils

from mobilebert_jax.utils.errors import SharedError, Stopped, UserError

T = TypeVar("T")

POLL = 0.1
"""Seconds between two looks at the store."""

DONE, REFUSED, STOPPED, FAILED = "done", "refused", "stopped", "failed"

_numbers = itertools.count()


class RefusedElsewhere(SharedError):
    """Process 0 has said what is wrong; this one ends the same way, silently."""


def several() -> bool:
    """Whether this is one of several processes. Does not touch the devices."""
    return _state().client is not None and _state().num_processes > 1


def is_first() -> bool:
    """True for the process that writes and speaks: the only one, or process 0."""
    return not several() or _state().process_id == 0


def own_number() -> int:
    """This process' number among those of the run, from 0. Does not touch the devices."""
    return _state().process_id if several() else 0


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process, the same answer in all. Waits for what the devices still do."""
    return bool(np.any(multihost_utils.process_allgather(np.bool_(flag)))) if several() else flag


def whole(tree: Any) -> Any:
    """Arrays in any layout as numpy arrays, in every process."""
    return multihost_utils.process_allgather(tree, tiled=True) if several() else jax.device_get(tree)


def leave(seconds: float = 10.0) -> None:
    """Before a process ends without saying goodbye: process 0, whose end ends the others, waits for them to be gone."""
    if not several():
        return
    if not is_first():
        return tell(f"mobilebert/gone/{_state().process_id}", DONE)
    deadline = time.monotonic() + seconds
    others = [f"mobilebert/gone/{process}" for process in range(1, _state().num_processes)]
    while time.monotonic() < deadline and not all(told(key) for key in others):
        time.sleep(POLL)
    time.sleep(POLL)


def first_says(flag: bool) -> bool:
    """Process 0's flag, in all."""
    return any_process(flag and is_first())


def on_first(work: Callable[[], T]) -> T | None:
    """`work()` in process 0 alone, while the others wait for its end; None there.

    Raises:
        RefusedElsewhere, Stopped: in the others, when process 0 raised UserError or Stopped.
    """
    if not several():
        return work()
    key = f"mobilebert/first/{next(_numbers)}"
    if not is_first():
        return _follow(_wait(key))
    outcome = FAILED
    try:
        value = work()
        outcome = DONE
        return value
    except UserError:
        outcome = REFUSED
        raise
    except Stopped as stop:
        outcome = f"{STOPPED} {stop}"
        raise
    finally:
        tell(key, outcome)


def _follow(outcome: str) -> None:
    if outcome.startswith(STOPPED):
        raise Stopped(outcome.removeprefix(STOPPED).strip())
    if outcome == REFUSED:
        raise RefusedElsewhere("process 0 has said why")
    if outcome != DONE:
        raise RuntimeError("process 0 has failed")


def exchange(value: str) -> list[str]:
    """What every process gives here, in order of their ids."""
    if not several():
        return [value]
    topic = f"mobilebert/exchange/{next(_numbers)}"
    tell(f"{topic}/{_state().process_id}", value)
    return [_wait(f"{topic}/{process}") for process in range(_state().num_processes)]


def tell(key: str, value: str) -> None:
    """Puts a value into the store."""
    _state().client.key_value_set(key, value, allow_overwrite=True)


def told(key: str) -> str | None:
    """What the store holds now; None for nothing. JAX's error where process 0, which keeps the store, has gone."""
    try:
        return _state().client.key_value_try_get(key)
    except jax.errors.JaxRuntimeError as error:
        if "NOT_FOUND" in str(error):
            return None
        raise


def _wait(key: str) -> str:
    while (value := told(key)) is None:
        time.sleep(POLL)
    return value


def _state():
    return distributed.global_state
