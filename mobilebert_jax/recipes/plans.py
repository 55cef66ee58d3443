"""Which stages a phase has, from the config: the recipe's strategies as data."""

from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.training.stages import TRANSFER_TERMS, Plan, Stage


def alone_plan(name: str, steps: int, blocks: int, coefficients: dict[str, float]) -> Plan:
    """One stage in which everything learns alike."""
    return Plan((Stage(name, steps, coefficients, block_rates=(1.0,) * blocks),))


def transfer_coefficients(config: ConfigDict, blocks: int) -> dict[str, float]:
    """The four factors, each divided by the number of blocks as in the published command."""
    return {term: config.transfer[term] / blocks for term in TRANSFER_TERMS if config.transfer[term]}


def transfer_plan(config: ConfigDict, blocks: int) -> Plan:
    """The stages of the transfer phase: one a block when progressive, one in all when joint."""
    settings = config.transfer
    coefficients = transfer_coefficients(config, blocks)
    frozen = {"embedding_rate": 0.0, "head_rate": 0.0, "background": settings.background}
    if settings.strategy in ("joint", "local"):
        together = {"block_rates": (settings.block_rate,) * blocks, "block_weights": (1.0,) * blocks, **frozen}
        joint = settings.steps if settings.strategy == "joint" else round(settings.joint_share * settings.steps)
        stages = (Stage("all blocks", joint, coefficients, **together),) if joint else ()
        if joint < settings.steps:
            local = settings.steps - joint
            stages = (Stage("each block", local, coefficients, **together, **_local(settings, local)), *stages)
        return Plan(stages)
    share, extra = divmod(settings.steps, blocks)
    stages = []
    for block in range(blocks):
        rates = [settings.lower_rate] * block + [settings.block_rate] + [0.0] * (blocks - block - 1)
        weights = [float(index == block) for index in range(blocks)]
        steps = share + (extra if block == blocks - 1 else 0)
        stages.append(Stage(f"block {block}", steps, coefficients, tuple(rates), tuple(weights), **frozen))
    return Plan(tuple(stages))


def _local(settings: ConfigDict, steps: int) -> dict[str, Any]:
    """The fields of a stage of local transfer."""
    fields: dict[str, Any] = {"gradient": "local", "updates": settings.updates}
    if any(settings.teacher_fed):
        fields |= {"inputs": "teacher", "fed": tuple(settings.teacher_fed)}
    if settings.block_starts or settings.block_stops:
        starts = settings.block_starts or (0.0,) * len(settings.block_stops)
        stops = settings.block_stops or (1.0,) * len(starts)
        spans = zip(starts, stops, strict=True)
        fields["block_spans"] = tuple((round(start * steps), round(stop * steps)) for start, stop in spans)
    return fields


def distill_coefficients(config: ConfigDict) -> dict[str, float]:
    """alpha masked LM + (1 - alpha) distillation + next sentence (paper section 3.4)."""
    ratio = config.distill.ground_truth_ratio
    terms = {"masked_lm": ratio, "distillation": 1.0 - ratio, "next_sentence": config.distill.next_sentence}
    return {name: value for name, value in terms.items() if value}


def distill_plan(config: ConfigDict, blocks: int) -> Plan:
    """The distillation stage; auxiliary transfer adds every block's transfer loss to it."""
    coefficients = distill_coefficients(config)
    if config.transfer.strategy != "auxiliary":
        return alone_plan("distillation", config.distill.steps, blocks, coefficients)
    coefficients |= transfer_coefficients(config, blocks)
    return Plan((Stage("auxiliary", config.distill.steps, coefficients, (1.0,) * blocks, (1.0,) * blocks),))
