"""The plot of `bench device`: what a file weighs against how long it takes, one panel a runtime and length."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.bench.device_paper import BYTES, LENGTH, PAPER, SETTING
from mobilebert_jax.utils.drawing import GREY, HELDOUT, INK, STYLE, TRAIN
from mobilebert_jax.utils.files import atomic_path

Row = Mapping[str, Any]

COLOURS = {
    "mobilebert": TRAIN,
    "mobilebert_tiny": "#8aa4f0",
    "mobilebert_no_opt": "#8a3fb0",
    "bert_base": INK,
    "distilbert": GREY,
    "albert_base": HELDOUT,
}
PRECISIONS = {"float32": {"marker": "o"}, "int8": {"marker": "s"}}
SIZES, TIMES = "MB", "ms"


def plot_device(rows: Sequence[Row], path: str | Path) -> None:
    """Writes an SVG, both axes logarithmic: a line joins a network's float32 file and its int8 file.

    Of several numbers of threads the lowest is drawn. The paper's figures have a panel beside those of their length.
    """
    import matplotlib
    from matplotlib.figure import Figure

    threads = min(row["threads"] for row in rows)
    drawn = [row for row in rows if row["threads"] == threads]
    runtimes = list(dict.fromkeys(row["runtime"] for row in drawn))
    lengths = list(dict.fromkeys(row["length"] for row in drawn))
    beside = int(LENGTH in lengths)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "device"}):
        drawing = Figure(figsize=(3.2 * (len(runtimes) + beside) + 0.4, 2.9 * len(lengths) + 0.5), layout="constrained")
        panels = drawing.subplots(len(lengths), len(runtimes) + beside, squeeze=False, sharex=True, sharey=True)
        for length, line in zip(lengths, panels, strict=True):
            for runtime, axes in zip(runtimes, line, strict=False):
                own = [row for row in drawn if (row["runtime"], row["length"]) == (runtime, length)]
                _panel(axes, f"{runtime}, {length} tokens\n{threads} thread{'s' * (threads > 1)}", own)
            if beside and length == LENGTH:
                _panel(line[-1], f"the paper, {LENGTH} tokens\n{SETTING}", _of_paper(own))
                line[-1].set_xlabel(SIZES)
            elif beside:
                line[-1].set_axis_off()
        for axes in panels[:, 0]:
            axes.set_ylabel(TIMES)
        for axes in panels[-1, : len(runtimes)]:
            axes.set_xlabel(SIZES)
        _explain(drawing, drawn)
        with atomic_path(path) as unfinished:
            drawing.savefig(unfinished, format="svg", metadata={"Date": None})


def _of_paper(rows: Sequence[Row]) -> list[Row]:
    """Its figures of those networks that are drawn, in float32."""
    return [
        {"network": name, "precision": "float32", "bytes": BYTES * about["parameters"], "ms": about["ms"]}
        for name, about in PAPER.items()
        if any(row["network"] == name for row in rows)
    ]


def _panel(axes: Any, title: str, rows: Sequence[Row]) -> None:
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        colour = COLOURS.get(name, GREY)
        sizes, times = [row["bytes"] / 1e6 for row in own], [row["ms"] for row in own]
        axes.plot(sizes, times, color=colour, linewidth=1, alpha=0.5)
        for row, size, time in zip(own, sizes, times, strict=True):
            axes.plot([size], [time], linestyle="", color=colour, markersize=6, **PRECISIONS[row["precision"]])
    axes.set(xscale="log", yscale="log", title=title)
    axes.grid(which="both", color=GREY, alpha=0.2, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelbottom=True, which="both")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")


def _explain(drawing: Any, rows: Sequence[Row]) -> None:
    """The legend below all panels: a colour a network, a marker a precision."""
    from matplotlib.lines import Line2D

    networks = dict.fromkeys(row["network"] for row in rows)
    shown = [Line2D([], [], color=COLOURS.get(name, GREY), linewidth=3, label=name) for name in networks]
    precisions = dict.fromkeys(row["precision"] for row in rows)
    shown += [Line2D([], [], color=INK, linestyle="", label=name, **PRECISIONS[name]) for name in precisions]
    drawing.legend(handles=shown, loc="outside lower center", ncols=4, frameon=False)
