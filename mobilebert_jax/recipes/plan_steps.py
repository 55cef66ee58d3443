"""Every phase's step as something to compile: programs and abstract arguments, no data and no parameters."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params, logical_axes
from mobilebert_jax.parallel.hlo_costs import Trips
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.recipes.programs import (
    Planned,
    distill_programs,
    finetune_programs,
    teacher_programs,
    transfer_programs,
)
from mobilebert_jax.recipes.settings import phase_settings
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.placing import placed_params, placed_state, placed_trained, shardings_of
from mobilebert_jax.training.program import Program, control_at, make_step
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.utils.placement import TEACHER
from mobilebert_jax.utils.types import Batch


@dataclasses.dataclass(frozen=True)
class PhaseSteps:
    """A phase's plan, its programs and the networks they take."""

    name: str
    config: ConfigDict
    plan: Plan
    programs: tuple[Program, ...]
    model: nn.Module
    teacher: nn.Module | None

    def distinct(self) -> dict[Program, list[int]]:
        """Each program, to be compiled once, and the stages that it serves."""
        served: dict[Program, list[int]] = {}
        for index, program in enumerate(self.programs):
            served.setdefault(program, []).append(index)
        return served

    def lower(self, program: Program, layout: Layout) -> jax.stages.Lowered:
        """The program's step on a mesh, traced from shapes alone."""
        settings = phase_settings(self.config, self.name, self.plan.steps, clip_frozen=self._clips_frozen())
        whole, trained = self._placed(program, layout)
        state = placed_state(layout, settings["optimizer"], trained)
        rest = whole if self._reads_rest(program, whole) else {}
        teacher = {}
        if self.teacher is not None:
            teacher = placed_params(layout, logical_axes(self.teacher), abstract_params(self.teacher), TEACHER)
        step = make_step(
            program,
            settings["optimizer"],
            settings["learning_rate"],
            settings["accumulation"],
            settings["seed"],
            settings["nonfinite_skips"],
            layout=layout,
            out_shardings=shardings_of(state),
        )
        control = _replicated(jax.eval_shape(lambda: control_at(self.plan, 0)), layout)
        batch = abstract_batch(self.config[self.name], self.config.data.packing, layout.batch)
        return step.lower(state, rest, teacher, batch, control)

    def held(self, program: Program, layout: Layout) -> int:
        """Bytes of a device that the loop holds beside a step's arguments: the trained part as the stage began."""
        whole, trained = self._placed(program, layout)
        if self._reads_rest(program, whole):
            return 0  # they are among what the step reads
        leaves = jax.tree.leaves(trained)
        return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)

    def _placed(self, program: Program, layout: Layout) -> tuple[Any, Any]:
        """The whole network and its trained part, as shapes with shardings."""
        whole = placed_params(layout, logical_axes(self.model), abstract_params(self.model))
        return whole, placed_trained(program, whole)

    @staticmethod
    def _reads_rest(program: Program, whole: Any) -> bool:
        """Whether the step takes the whole network beside the trained part; otherwise it takes nothing beside it."""
        return bool(jax.tree.leaves(jax.eval_shape(lambda tree: program.cut(tree, 0)[1], whole)))

    def trips(self, stage: int) -> Trips:
        """Runs of the loops whose length is the stage's: walks through the blocks below the one that learns."""
        program = self.programs[stage]
        top = self.plan.stages[stage].top
        transfer = getattr(program, "transfer", None)
        layer_map = transfer.pair.layer_map if transfer else ()
        if isinstance(program, PairProgram):
            # The teacher's blocks between two that are compared; the mean over the scan.
            between = (layer_map[-1] + 1 - len(layer_map)) / len(layer_map)
            return lambda name: between
        return lambda name: layer_map[top] if is_teachers(name) else top

    def _clips_frozen(self) -> bool:
        return self.name == "transfer" and self.config.transfer.tf1_compat


def is_teachers(name: str) -> bool:
    """Whether an `op_name` lies within `of_teacher`."""
    return TEACHER in name.replace("(", "/").replace(")", "/").split("/")


def phase_steps(config: ConfigDict, names: tuple[str, ...], teacher: ModelConfig, student: ModelConfig) -> Iterator:
    """`PhaseSteps` of the phases of these names, in the recipe's order."""
    pretraining = {"teacher": build_model(teacher, "pretraining"), "student": build_model(student, "pretraining")}
    for name in names:
        model, guide = pretraining["student"], pretraining["teacher"]
        planned: Planned
        if name == "teacher":
            planned, model, guide = teacher_programs(config, teacher), pretraining["teacher"], None
        elif name == "transfer":
            planned = transfer_programs(config, teacher, student)
        elif name == "distill":
            planned = distill_programs(config, teacher, student)
            guide = guide if "distillation" in planned[0].stages[0].coefficients else None
        else:
            planned, model, guide = finetune_programs(config, student), build_model(student, "qa"), None
        yield PhaseSteps(name, config, *planned, model, guide)


def abstract_batch(settings: ConfigDict, packing: bool = False, sharding: Any = None) -> Batch:
    """A batch of a phase as shapes: `Batch` says what is in it, of pairs of segments or of packed rows."""
    size, length = settings.batch_size, settings.sequence_length

    def field(*dims: int, dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((size, *dims), dtype, sharding=sharding)

    batch = {name: field(length) for name in ("input_ids", "attention_mask", "token_type_ids")}
    if "max_predictions" not in settings:
        return batch | {"start_positions": field(), "end_positions": field()}
    most = settings.max_predictions
    batch |= {"masked_positions": field(most), "masked_ids": field(most)}
    batch |= {"segment_ids": field(length)} if packing else {"next_sentence_labels": field()}
    return batch | {"masked_weights": field(most, dtype=jnp.float32)}


def _replicated(tree: Any, layout: Layout) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=layout.replicated), tree)
