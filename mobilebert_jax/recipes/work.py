"""How much work the steps of each phase are, so that the time left can be said of phases that have not begun."""

import functools
import math
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.recipes.plans import distill_plan, transfer_plan
from mobilebert_jax.recipes.settings import active_phases, transfer_pair
from mobilebert_jax.training.stages import Stage
from mobilebert_jax.utils.trees import named_leaves

Steps = tuple[int, float]
"""(steps of a stage, work of one of them)."""

LEARNING = 3
"""Forward and backward together, in forwards."""


class _Network:
    """Multiply-adds of a network's forward pass: of one block and of the heads."""

    def __init__(self, cfg: ModelConfig):
        leaves = named_leaves(abstract_params(build_model(cfg, "pretraining")))
        stacked = [leaf for name, leaf in leaves.items() if "/layers/" in name]
        self._weights = sum(math.prod(leaf.shape) for leaf in stacked) // max(cfg.num_hidden_layers, 1)
        self._width, self._hidden = cfg.intra_bottleneck_size, cfg.hidden_size
        self._vocabulary, self.blocks = cfg.vocab_size, cfg.num_hidden_layers

    def block(self, length: int) -> float:
        """One block on one sequence; every token looks at every other."""
        return length * (self._weights + 2 * length * self._width)

    def heads(self, predictions: int) -> float:
        """The masked-LM head."""
        return predictions * self._hidden * (self._hidden + self._vocabulary)


# Every phase of a run asks anew.
_network = functools.cache(_Network)


def recipe_work(
    config: ConfigDict, phases: Sequence[str], teacher: ModelConfig, student: ModelConfig
) -> dict[str, tuple[Steps, ...]]:
    """Phase -> its stages: (steps, multiply-adds of one), for those of `phases` that the config gives something to do.

    Embeddings are left out.
    """
    networks = {"teacher": _network(teacher), "student": _network(student)}
    made = {}
    for name in active_phases(config):
        if name in phases:
            stages = _stages(config, name, networks, teacher, student)
            made[name] = tuple((steps, config[name].batch_size * work) for steps, work in stages)
    return made


def _stages(
    config: ConfigDict, name: str, networks: dict[str, _Network], teacher: ModelConfig, student: ModelConfig
) -> Iterator[Steps]:
    """The stages of one phase, for one example."""
    settings = config[name]
    length, blocks = settings.sequence_length, student.num_hidden_layers
    if name == "finetune":
        yield settings.steps, LEARNING * blocks * networks["student"].block(length)
        return
    whole = {
        which: network.blocks * network.block(length) + network.heads(settings.max_predictions)
        for which, network in networks.items()
    }
    if name == "teacher":
        yield settings.steps, LEARNING * whole["teacher"]
        return
    if name == "distill":
        yield distill_plan(config, blocks).steps, whole["teacher"] + LEARNING * whole["student"]
        return
    each = {which: network.block(length) for which, network in networks.items()}
    layer_map = transfer_pair(config, teacher, student).layer_map
    for stage in transfer_plan(config, blocks).stages:
        yield stage.steps, _transfer(stage, each, layer_map, blocks)


def _transfer(stage: Stage, each: dict[str, float], layer_map: Sequence[int], blocks: int) -> float:
    """One step of a transfer stage on one example, by the program that its walk takes."""
    top = stage.top if stage.walk in ("block", "prefix") else blocks - 1
    learning = 1 if stage.walk == "block" else top + 1
    frozen = top + 1 - learning
    return (layer_map[top] + 1) * each["teacher"] + stage.updates * (frozen + LEARNING * learning) * each["student"]
