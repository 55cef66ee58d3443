"""The plan of each phase and the programs of its stages: what is trained how, without any data or parameters."""

from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.quantization.arithmetic import Computing
from mobilebert_jax.quantization.fake import fake_arithmetic
from mobilebert_jax.recipes.plans import alone_plan, distill_coefficients, distill_plan, transfer_plan
from mobilebert_jax.recipes.settings import transfer_pair
from mobilebert_jax.training.alone import AloneProgram
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.local import LocalProgram
from mobilebert_jax.training.program import Program
from mobilebert_jax.training.stages import Plan, Stage
from mobilebert_jax.training.transfer import BlockProgram, PrefixProgram, Transfer

Planned = tuple[Plan, tuple[Program, ...]]
"""A phase's plan, and one program for each of its stages."""


def teacher_programs(config: ConfigDict, cfg: ModelConfig) -> Planned:
    """Masked LM and next sentence from scratch."""
    coefficients = {"masked_lm": 1.0, "next_sentence": config.teacher.next_sentence}
    plan = alone_plan("teacher", config.teacher.steps, cfg.num_hidden_layers, coefficients)
    return plan, (AloneProgram(build_model(cfg, "pretraining"), coefficients),)


def transfer_programs(config: ConfigDict, teacher: ModelConfig, cfg: ModelConfig) -> Planned:
    """Block by block, or all blocks at once."""
    plan = transfer_plan(config, cfg.num_hidden_layers)
    return plan, stage_programs(plan, Transfer(transfer_pair(config, teacher, cfg), plan.stages[0].coefficients))


def stage_programs(plan: Plan, transfer: Transfer) -> tuple[Program, ...]:
    """The cheapest program for each stage; stages of one kind share one program, hence one compilation."""
    made: dict[tuple, Program] = {}

    def kind(stage: Stage) -> tuple:
        local = (stage.inputs, stage.gated, stage.updates) if stage.walk == "local" else ()
        return stage.walk, *local, *stage.coefficients.items()

    def make(stage: Stage) -> Program:
        if stage.walk == "block":
            return BlockProgram(transfer)
        if stage.walk == "prefix":
            return PrefixProgram(transfer, with_embeddings=transfer.pair.tf1_compat)
        if stage.walk == "local":
            settings = {"gated": stage.gated, "feeds": stage.inputs == "teacher", "updates": stage.updates}
            return LocalProgram(transfer, stage.coefficients, blocks_only=True, **settings)
        return PairProgram(transfer, stage.coefficients, stage.trains_blocks_only)

    return tuple(made.setdefault(kind(stage), make(stage)) for stage in plan.stages)


def distill_programs(config: ConfigDict, teacher: ModelConfig, cfg: ModelConfig) -> Planned:
    """Masked LM with half of the target from the teacher's logits, next sentence; with the transfer losses if asked."""
    plan = distill_plan(config, cfg.num_hidden_layers)
    stage = plan.stages[0]
    if stage.transfers:
        transfer = Transfer(transfer_pair(config, teacher, cfg), stage.coefficients)
        return plan, (PairProgram(transfer, stage.coefficients, blocks_only=False),)
    # With the ground truth alone there is no teacher in the graph, and the reference switches dropout on.
    alone = "distillation" not in stage.coefficients
    teacher_model = None if alone else build_model(teacher, "pretraining")
    model = build_model(cfg, "pretraining")
    return plan, (AloneProgram(model, distill_coefficients(config), teacher_model, dropout=alone),)


def finetune_programs(config: ConfigDict, cfg: ModelConfig) -> Planned:
    """Answer spans."""
    plan = alone_plan("questions", config.finetune.steps, cfg.num_hidden_layers, {"span": 1.0})
    return plan, (AloneProgram(as_quantized(config, build_model(cfg, "qa")), {"span": 1.0}),)


def label_programs(
    config: ConfigDict, cfg: ModelConfig, labels: tuple[str, ...], head: str = "classification"
) -> Planned:
    """A class of `labels` for every text, or a number where there are none; with that head for every word."""
    term = "classification" if labels else "regression"
    plan = alone_plan("labels", config.finetune.steps, cfg.num_hidden_layers, {term: 1.0})
    return plan, (AloneProgram(as_quantized(config, label_model(cfg, labels, head)), {term: 1.0}),)


def label_model(cfg: ModelConfig, labels: tuple[str, ...], head: str = "classification") -> nn.Module:
    """The model of `label_programs`; its labels' names go to its folder."""
    return build_model(cfg, head, num_labels=len(labels) or 1, label_names=labels)


def as_quantized(config: ConfigDict, model: nn.Module) -> Any:
    """What has the model's `apply` and computes as `finetune.quantize` says: the model itself where that is empty."""
    method = config.finetune.quantize
    return Computing(model, fake_arithmetic(method)) if method else model
