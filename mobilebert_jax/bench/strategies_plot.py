"""The plot of `bench strategies`: a strip a strategy, a dot a seed, one panel for each figure and comparison."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.utils.drawing import GREY, INK, STYLE, TRAIN
from mobilebert_jax.utils.files import atomic_path

Row = Mapping[str, Any]

TITLES = {
    "masked_lm": "masked LM, held-out loss",
    "f1": "held-out questions, F1",
}
COMPARED = {
    "steps": "equal student steps",
    "time": "equal student time",
    "teacher": "the teacher's time counted",
}
LEFT_OUT = ("masked_lm_accuracy", "exact")
"""They say what the loss and F1 say."""


def plot_strategies(rows: Sequence[Row], path: str | Path) -> None:
    """Writes an SVG: figures below each other, comparisons side by side; the mean of the seeds is a line.

    Students of equal teacher's time are drawn beside those of equal student time, for they are compared with them.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figures = [name for name, value in rows[0].items() if isinstance(value, float) and name not in LEFT_OUT]
    comparisons = list(dict.fromkeys(row["equal"] for row in rows))
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "strategies"}):
        size = 3.4 * len(comparisons) + 0.8, (0.9 + 0.24 * len(strategies)) * len(figures)
        drawing = Figure(figsize=size, layout="constrained")
        panels = drawing.subplots(len(figures), len(comparisons), squeeze=False, sharex="row", sharey=True)
        for figure, beside in zip(figures, panels, strict=True):
            for comparison, axes in zip(comparisons, beside, strict=True):
                own = [row for row in rows if row["equal"] == _drawn_with(comparison, row, rows)]
                _panel(axes, figure, own, strategies)
                axes.set_title(f"{TITLES.get(figure, f'{figure}, F1')}\n{COMPARED[comparison]}")
        with atomic_path(path) as unfinished:
            drawing.savefig(unfinished, format="svg", metadata={"Date": None})


def _drawn_with(comparison: str, row: Row, rows: Sequence[Row]) -> str:
    """Whose row of this strategy stands in the panel: with the teacher counted, its own or else that of `time`."""
    if comparison != "teacher":
        return comparison
    own = any(other["equal"] == "teacher" and other["strategy"] == row["strategy"] for other in rows)
    return "teacher" if own else "time"


def _panel(axes: Any, figure: str, rows: Sequence[Row], strategies: Sequence[str]) -> None:
    for place, name in enumerate(strategies):
        values = [row[figure] for row in rows if row["strategy"] == name]
        if values:
            mean = statistics.mean(values)
            axes.plot(values, [place] * len(values), "o", color=TRAIN, markersize=5, alpha=0.6, markeredgewidth=0)
            axes.plot([mean, mean], [place - 0.32, place + 0.32], color=INK, linewidth=1.6)
    axes.set_yticks(range(len(strategies)), strategies)
    axes.set_ylim(len(strategies) - 0.5, -0.5)
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
