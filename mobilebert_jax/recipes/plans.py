"""Which stages a phase has, from the config: the recipe's strategies as data."""

from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.training.stages import TRANSFER_TERMS, Plan, Stage
from mobilebert_jax.utils.errors import UserError


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
    common = {"embedding_rate": 0.0, "head_rate": 0.0, "background": settings.background}
    common["block_end_ratio"] = settings.block_end_ratio
    if settings.strategy in ("joint", "local"):
        together = {"block_rates": (settings.block_rate,) * blocks, "block_weights": (1.0,) * blocks, **common}
        joint = settings.steps if settings.strategy == "joint" else round(settings.joint_share * settings.steps)
        stages = (Stage("all blocks", joint, coefficients, **together),) if joint else ()
        if joint < settings.steps:
            local = settings.steps - joint
            stages = (Stage("each block", local, coefficients, **together, **_local(settings, local, blocks)), *stages)
        return Plan(stages)
    share, extra = divmod(settings.steps, blocks)
    stages = []
    for block in range(blocks):
        rates = [settings.lower_rate] * block + [settings.block_rate] + [0.0] * (blocks - block - 1)
        weights = [float(index == block) for index in range(blocks)]
        steps = share + (extra if block == blocks - 1 else 0)
        stages.append(Stage(f"block {block}", steps, coefficients, tuple(rates), tuple(weights), **common))
    return Plan(tuple(stages))


def _local(settings: ConfigDict, steps: int, blocks: int) -> dict[str, Any]:
    """The fields of a stage of local transfer."""
    fields: dict[str, Any] = {"gradient": "local", "updates": settings.updates}
    if any(settings.teacher_fed):
        fields |= {"inputs": "teacher", "fed": tuple(settings.teacher_fed)}
    if settings.block_starts or settings.block_stops:
        spans = learning_spans(settings, blocks)
        fields["block_spans"] = tuple((round(start * steps), round(stop * steps)) for start, stop in spans)
    return fields


def learning_spans(settings: ConfigDict, blocks: int) -> list[tuple[float, float]]:
    """The shares of the local steps from and to which each block learns; two mean the first's and the last block's.

    Raises:
        UserError: shares for another number of blocks.
    """
    shares = []
    for name, default in (("block_starts", 0.0), ("block_stops", 1.0)):
        given = settings[name] or (default,) * blocks
        if len(given) == 2 < blocks:
            places = [block / (blocks - 1) for block in range(blocks)]
            given = [given[0] * (1 - place) + given[1] * place for place in places]
        if len(given) != blocks:
            raise UserError(
                f"transfer.{name}={settings[name]}: {blocks} shares are needed, one for each block, or two, of the "
                "first and the last"
            )
        shares.append(given)
    return list(zip(*shares, strict=True))


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
