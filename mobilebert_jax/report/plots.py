"""Curves and heat maps as inline SVG."""

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from mobilebert_jax.report.markup import Markup
from mobilebert_jax.report.run_folder import Line, PhaseLog
from mobilebert_jax.utils.drawing import GREY, HELDOUT, INK, LOSSES, STYLE, TRAIN

TITLES = {
    "masked_lm": "masked LM, loss",
    "distillation": "distillation, loss",
    "next_sentence": "next sentence, loss",
    "span": "answer span, loss",
    "hidden": "hidden states",
    "attention": "attention maps",
    "mean": "mean of hidden states",
    "variance": "variance of hidden states",
    "masked_lm_accuracy": "masked LM, accuracy",
    "learning_rate": "learning rate",
}
"""The figures that are drawn, in this order; the rate only where a panel would stay empty."""
LOGARITHMIC = {"hidden", "mean", "variance"}
MANY_DECADES = 1e4
"""From this ratio of highest to lowest on, a logarithmic axis is labelled once a decade."""
NAMED_STAGES = 6
"""Up to so many stages are named in full above a plot."""
NUMBERED_CELLS = 120
"""Up to so many cells of a heat map carry their figure."""


def phase_curves(phase: PhaseLog) -> Markup:
    """Every loss of a phase over its steps: means of training steps as a line, held-out figures as points."""
    import matplotlib
    from matplotlib.figure import Figure

    names = [name for name in TITLES if any(name in line for line in phase.train) and name != "learning_rate"]
    names = names[:4] if len(names) % 2 == 0 else [*names, "learning_rate"][:4]
    rows = max((len(names) + 1) // 2, 1)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": phase.name}):
        drawing = Figure(figsize=(9.6, 2.5 * rows), layout="constrained")
        panels = drawing.subplots(rows, 2, squeeze=False).ravel()
        for name, axes in zip(names, panels, strict=False):
            _panel(axes, phase, name)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        return _svg(drawing, f"Curves of the {phase.name} phase")


def _panel(axes: Any, phase: PhaseLog, name: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    stages = _stages(phase)
    for _, first, last in stages:
        part = [line for line in phase.train if first < line["step"] <= last and name in line]
        points = [(line["step"], _mean(line[name])) for line in part]
        marker = "." if len(points) == 1 else None
        axes.plot(*_columns(points), color=TRAIN, linewidth=1.4, marker=marker, clip_on=False)
    points = [
        (line["step"], _of_stage(line["heldout"][name], line["step"], stages))
        for line in phase.heldout
        if name in line["heldout"]
    ]
    if points:
        axes.plot(
            *_columns(points), "o", color=HELDOUT, markersize=4.5, markeredgecolor="white", zorder=3, clip_on=False
        )
    axes.set_title(TITLES[name])
    axes.set_xlim(0, max(phase.steps, phase.step))
    axes.grid(axis="y", color="#e8eaee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(y=0.14 if len(stages) > 1 else 0.06)  # room for the names of the stages
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if name in LOGARITHMIC and all(value > 0 for _, value in points):
        axes.set_yscale("log")
        lowest, highest = axes.get_ylim()
        # Three labels a decade lie over one another, or are all left out, where a curve falls through many.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < MANY_DECADES * lowest else (1,)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    _borders(axes, stages)


def _borders(axes: Any, stages: Sequence[tuple[str, int, int]]) -> None:
    """A thin line where a stage begins, its name beside it."""
    if len(stages) < 2:
        return
    for name, first, _ in stages:
        if first:
            axes.axvline(first, color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        short = name if len(stages) <= NAMED_STAGES else name.split()[-1]
        axes.annotate(
            short,
            (first, 1.0),
            (3, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            fontsize=7.5,
            color="#6b7480",
        )


def heat_map(phase: PhaseLog, terms: Sequence[str] = ("hidden", "attention")) -> Markup | None:
    """Held-out transfer losses, block against step, one map a term; None where the phase logged no losses by block."""
    import matplotlib
    from matplotlib.figure import Figure

    drawn = {
        term: [(line["step"], line["heldout"][term]) for line in phase.heldout if _by_block(line, term)]
        for term in terms
    }
    drawn = {term: points for term, points in drawn.items() if points}
    if not drawn:
        return None
    blocks = max(len(values) for points in drawn.values() for _, values in points)
    with matplotlib.rc_context(
        STYLE | {"svg.hashsalt": "heat", "axes.spines.left": False, "axes.spines.bottom": False}
    ):
        drawing = Figure(figsize=(9.6, min(1.3 + 0.34 * blocks, 8.0)), layout="constrained")
        for axes, (term, points) in zip(drawing.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
            _map(drawing, axes, TITLES[term], points, _stages(phase))
        return _svg(drawing, "Held-out transfer loss of every block over the steps")


def _map(drawing: Any, axes: Any, title: str, points: Sequence[tuple[int, list[float]]], stages: Sequence[Any]) -> None:
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    values = np.array([column for _, column in points], np.float64).T
    blocks, columns = values.shape
    norm = LogNorm() if (values > 0).all() and values.max() > 5 * values.min() else None
    colours = LinearSegmentedColormap.from_list("loss", LOSSES)
    mesh = axes.pcolormesh(values, cmap=colours, norm=norm, edgecolors="white", linewidth=1.2)
    axes.set_title(title)
    axes.set_ylabel("block")
    axes.set_xlabel("step")
    axes.set_yticks(np.arange(blocks)[:: 1 + blocks // 13] + 0.5, np.arange(blocks)[:: 1 + blocks // 13])
    shown = np.arange(columns)[:: 1 + columns // 12]
    axes.set_xticks(shown + 0.5, [f"{points[index][0]:,}" for index in shown])
    axes.tick_params(length=0)
    borders = {last for _, _, last in stages[:-1]}
    for index, (step, _) in enumerate(points[:-1]):
        if step in borders:
            axes.axvline(index + 1, color=INK, linewidth=1.0, linestyle=(0, (2, 2)))
    if values.size <= NUMBERED_CELLS:
        for (block, column), value in np.ndenumerate(values):
            dark = mesh.norm(value) > 0.45
            colour = "white" if dark else INK
            axes.text(column + 0.5, block + 0.5, f"{value:.2g}", ha="center", va="center", fontsize=8, color=colour)
    else:
        drawing.colorbar(mesh, ax=axes, pad=0.01)


def _stages(phase: PhaseLog) -> list[tuple[str, int, int]]:
    """(name, step before its first, last logged step) of every stage that was begun; a stage's end is always logged."""
    stages: list[tuple[str, int, int]] = []
    for line in phase.train:
        name = line.get("stage", "")
        if stages and stages[-1][0] == name:
            stages[-1] = (name, stages[-1][1], line["step"])
        else:
            stages.append((name, stages[-1][2] if stages else 0, line["step"]))
    return stages


def _by_block(line: Line, term: str) -> bool:
    return isinstance(line["heldout"].get(term), list)


def _of_stage(value: Any, step: int, stages: Sequence[tuple[str, int, int]]) -> float:
    """Of a figure by block the one of the block that the stage trains (the line is its too), else the mean."""
    name = next((name for name, first, last in stages if first < max(step, 1) <= last), "")
    block = re.fullmatch(r"block (\d+)", name)
    if isinstance(value, list) and block and int(block[1]) < len(value):
        return value[int(block[1])]
    return _mean(value)


def _mean(value: Any) -> float:
    return sum(value) / max(len(value), 1) if isinstance(value, list) else value


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    kept = [(step, value) for step, value in points if math.isfinite(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def _svg(drawing: Any, label: str) -> Markup:
    """The figure as an <svg> element alone: no prolog, no metadata, nothing that names an address."""
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # HTML knows both names without being told.
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
