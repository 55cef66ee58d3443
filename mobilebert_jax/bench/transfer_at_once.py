"""What `bench transfer` says of the ways that train all blocks at once."""

import statistics
from collections.abc import Sequence

UPDATES = 4
"""Of `local_4`, from each batch."""


def at_once(stages: Sequence[dict[str, float]]) -> dict[str, float]:
    """What one local step takes, the median over the rows, and how it compares; {} where none is timed.

    `progressive_over_local`: one step of each of our stages over one local step, which trains every block as well.
    `local_over_joint`: over a step of joint transfer, which differentiates the whole student. `update` and
    `update_over_local`: one of several updates from a batch.
    """
    if "local" not in stages[0]:
        return {}
    local = statistics.median(row["local"] for row in stages)
    found = {"local": local, "progressive_over_local": sum(row["ours"] for row in stages) / local}
    # Ratios row by row: both were timed in turn there, so that a drifting machine slows both alike.
    if "whole" in stages[0]:
        found["joint"] = statistics.median(row["whole"] for row in stages)
        found["local_over_joint"] = statistics.median(row["local"] / row["whole"] for row in stages)
    if "local_4" in stages[0]:
        found["update"] = statistics.median(row["local_4"] / UPDATES for row in stages)
        found["update_over_local"] = statistics.median(row["local_4"] / UPDATES / row["local"] for row in stages)
    return found


def print_at_once(found: dict[str, float], stages: int) -> None:
    """The same as lines."""
    print(f"local step {found['local']:.3f}; a step of each of our {stages} stages over it", end=" ")
    print(f"{found['progressive_over_local']:.1f}")
    if "joint" in found:
        print(f"joint step {found['joint']:.3f}; local over joint {found['local_over_joint']:.3f}")
    if "update" in found:
        print(f"one of {UPDATES} updates from a batch {found['update']:.3f}; over a local step of one", end=" ")
        print(f"{found['update_over_local']:.3f}")
