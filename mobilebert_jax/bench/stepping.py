"""What several measurements time: a piece of work, and a step of fine-tuning."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.recipes.programs import Planned
from mobilebert_jax.recipes.settings import learning_rate, optimizer_config
from mobilebert_jax.training.program import control_at, init_state, make_step
from mobilebert_jax.utils.types import Batch


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(works: Mapping[Any, Callable[[], Any]], repeats: int) -> dict[Any, float]:
    """Median seconds of each piece of work, all in turn, so that a drifting machine slows all alike.

    A first round, which compiles, does not count.
    """
    each: dict[Any, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            each[name].append(seconds(work))
    return {name: statistics.median(values[1:]) for name, values in each.items()}


class TuningStep:
    """A step of the finetune phase of `model`, from fresh weights; each call goes on from what the last has left."""

    def __init__(self, config: ConfigDict, model: nn.Module, planned: Planned):
        plan, (program,) = planned
        optimizer = optimizer_config(config.finetune)
        self._call = make_step(program, optimizer, learning_rate(config.finetune, plan.steps), accumulation=1, seed=0)
        self._control = control_at(plan, 0)
        self._state = init_state(init_params(model, 0), optimizer)

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """The step's metrics, once everything of it is there."""
        self._state, metrics = self._call(self._state, {}, {}, batch, self._control)
        return jax.block_until_ready((self._state, metrics))[1]
