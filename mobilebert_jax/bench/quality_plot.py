"""The plot of `bench quality`: held-out feature-map loss against transfer time, a line a way and seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.utils.drawing import GREY, STYLE
from mobilebert_jax.utils.files import atomic_path

Row = Mapping[str, Any]


def plot_quality(rows: Sequence[Row], path: str | Path) -> None:
    """Writes an SVG: first, middle and last block side by side; the longest run of each way and seed is a line.

    Block by block, a block's loss is what it will stay only from the end of its stage on; dots are the runs' ends.
    """
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["strategy"] for row in rows))
    blocks = len(rows[0]["hidden"])
    shown = list(dict.fromkeys((0, blocks // 2, blocks - 1)))
    colours = matplotlib.colormaps["tab10"].colors
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "quality"}):
        drawing = Figure(figsize=(3.6 * len(shown) + 1.6, 3.6), layout="constrained")
        panels = drawing.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for axes, block in zip(panels, shown, strict=True):
            for place, name in enumerate(names):
                _lines(axes, [row for row in rows if row["strategy"] == name], block, colours[place % 10], name)
            axes.set_title(f"block {block}")
            axes.set_xlabel("seconds of transfer")
            axes.set_yscale("log")
            axes.grid(color=GREY, alpha=0.25, linewidth=0.8)
        panels[0].set_ylabel("hidden states, held-out loss")
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
        with atomic_path(path) as unfinished:
            drawing.savefig(unfinished, format="svg", metadata={"Date": None})


def longest(rows: Sequence[Row]) -> Row:
    """The run whose transfer took most seconds."""
    return max(rows, key=lambda row: row["seconds"]["transfer"])


def _lines(axes: Any, rows: Sequence[Row], block: int, colour: Any, name: str) -> None:
    """The curves and ends of one way's runs."""
    for number, seed in enumerate(sorted({row["seed"] for row in rows})):
        curve = longest([row for row in rows if row["seed"] == seed])["curve"]
        seconds, losses = zip(*((at, hidden[block]) for at, hidden in curve), strict=True)
        axes.plot(seconds, losses, color=colour, linewidth=1.2, alpha=0.7, label=name if number == 0 else None)
    ends = [(row["seconds"]["transfer"], row["hidden"][block]) for row in rows]
    axes.plot(*zip(*ends, strict=True), "o", color=colour, markersize=4)
