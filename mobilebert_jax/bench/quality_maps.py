"""Heat maps of `bench quality`, side by side: the held-out feature-map loss of every block over the seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.bench.quality_plot import longest
from mobilebert_jax.utils.drawing import LOSSES, STYLE
from mobilebert_jax.utils.files import atomic_path

Row = Mapping[str, Any]
ACROSS = 4
"""So many maps lie beside each other at most; all lines hold as many, but for the last."""


def plot_maps(rows: Sequence[Row], path: str | Path) -> None:
    """Writes an SVG: a map a way, of the first seed's longest run, all on one scale of colours and of seconds.

    The loss at an evaluation fills the time since the one before it.
    """
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure

    runs = {name: _shown(rows, name) for name in dict.fromkeys(row["strategy"] for row in rows)}
    losses = [loss for run in runs.values() for _, hidden in run["curve"] for loss in hidden]
    end = max(run["curve"][-1][0] for run in runs.values())
    look = {"cmap": LinearSegmentedColormap.from_list("loss", LOSSES), "norm": LogNorm(min(losses), max(losses))}
    lines = -(-len(runs) // ACROSS)
    across = -(-len(runs) // lines)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "maps"}):
        drawing = Figure(figsize=(2.7 * across + 0.8, 2.6 * lines + 0.4), layout="constrained")
        panels = drawing.subplots(lines, across, squeeze=False, sharey=True)
        for axes, (name, run) in zip(panels.ravel(), runs.items(), strict=False):
            mesh = _map(axes, run["curve"], look)
            axes.set_title(name)
            axes.set_xlim(0, end)
            axes.set_xlabel("seconds of transfer")
        for axes in panels.ravel()[len(runs) :]:
            axes.set_visible(False)
        for axes in panels[:, 0]:
            axes.set_ylabel("block")
        drawing.colorbar(mesh, ax=panels, label="hidden states, held-out loss", pad=0.01)
        with atomic_path(path) as unfinished:
            drawing.savefig(unfinished, format="svg", metadata={"Date": None})


def _shown(rows: Sequence[Row], name: str) -> Row:
    own = [row for row in rows if row["strategy"] == name]
    seed = min(row["seed"] for row in own)
    return longest([row for row in own if row["seed"] == seed])


def _map(axes: Any, curve: Sequence[tuple[float, Sequence[float]]], look: Mapping[str, Any]) -> Any:
    """Block against seconds; what is known before the first step has no time of its own."""
    import numpy as np

    edges = [seconds for seconds, _ in curve]
    values = np.array([hidden for _, hidden in curve[1:]]).T
    return axes.pcolormesh(edges, np.arange(len(values) + 1) - 0.5, values, **look)
