"""`mobilebert plan`: the ways of knowledge transfer side by side, as if the config had chosen each of them."""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.recipes.defaults import LOCAL_OFF

Row = dict[str, Any]

LOCAL = {"strategy": "local", "block_end_ratio": 1.0, **LOCAL_OFF}
"""Every block from its own loss alone, all other knobs of that off."""
WAYS = {
    "progressive": {"strategy": "progressive", "lower_rate": 0.0},
    "soft": {"strategy": "progressive", "lower_rate": 0.3},
    "joint": {"strategy": "joint"},
    "local": LOCAL,
    "local_4": LOCAL | {"updates": 4},
}
"""soft: with the original's rate of the lower blocks; local_4: with four updates from each batch."""


def steps_a_block(config: ConfigDict, blocks: int) -> int:
    """How many updates each block gets in the config's transfer phase, on average where stages differ."""
    settings = config.transfer
    if settings.strategy == "local":
        return settings.steps * settings.updates
    return settings.steps // blocks if settings.strategy == "progressive" else settings.steps


def compared_ways(
    config: ConfigDict, blocks: int, chips: int, row_of: Callable[[ConfigDict], Row | None]
) -> dict[str, Any]:
    """Chip-hours of transfer in every way, each block learning in as many updates as in the config's.

    `row_of`: what `plan` says of a config's transfer phase; None where a step does not fit.
    """
    each, rows = steps_a_block(config, blocks), []
    for name, settings in WAYS.items():
        changed = ConfigDict(config.to_dict())
        changed.transfer.update({**LOCAL_OFF, **settings, "steps": _steps(settings, each, blocks)})
        row = row_of(changed)
        found = {"way": name, "steps": changed.transfer.steps}
        if row is not None:
            found |= {"seconds": row["seconds"]["step"], "memory": row["memory"]["needed"]}
            found["chip_hours"] = row["days"] * 24 * chips
        rows.append(found)
    return {"steps_a_block": each, "rows": rows}


def _steps(settings: dict[str, Any], each: int, blocks: int) -> int:
    """Of a way in which every block gets `each` updates."""
    return each * blocks if settings["strategy"] == "progressive" else max(each // settings.get("updates", 1), 1)
