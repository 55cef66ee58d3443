"""The plot of `quantize --sensitivity`: the layers that suffer most from 8 bits, two dots each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.utils.drawing import GREY, HELDOUT, INK, STYLE
from mobilebert_jax.utils.files import atomic_path

Row = Mapping[str, Any]

LAYERS = 24
"""So many are drawn: a block stack's layers times its blocks would be hundreds."""

COLOURS = {"weights": INK, "activations": HELDOUT}


def layer_name(row: Row) -> str:
    """'attention/query, block 3': a row's layer for people."""
    name = row["layer"].removeprefix("encoder/").removeprefix("layers/")
    name = name.removesuffix("/kernel").removesuffix("/embedding")
    return name if row["block"] < 0 else f"{name}, block {row['block']}"


def plot_sensitivity(report: Mapping[str, Any], path: str | Path) -> None:
    """Writes an SVG: by layer the change of the logits, from zero on, the worst layer on top."""
    import matplotlib
    from matplotlib.figure import Figure

    layers: dict[str, dict[str, float]] = {}
    for row in report["rows"]:  # the worst first
        if row["layer"] != "all":
            layers.setdefault(layer_name(row), {})[row["part"]] = row["change"]
    worst = list(layers.items())[:LAYERS]
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "sensitivity"}):
        drawing = Figure(figsize=(8, 1.3 + 0.22 * len(worst)), layout="constrained")
        axes = drawing.subplots()
        _dots(axes, worst)
        left_out = len(layers) - len(worst)
        more = f"; {left_out} layers with less are not drawn" if left_out else ""
        axes.set_xlabel(f"change of the logits, as a share of their deviation{more}")
        # Over the whole width: over the dots alone there is no room for it.
        drawing.suptitle(_title(report), x=0.01, ha="left", size=10, weight="bold")
        with atomic_path(path) as unfinished:
            drawing.savefig(unfinished, format="svg", metadata={"Date": None})


def _dots(axes: Any, layers: Sequence[tuple[str, Mapping[str, float]]]) -> None:
    places = range(len(layers))
    axes.hlines(places, 0, [max(changes.values()) for _, changes in layers], color=GREY, alpha=0.5, linewidth=1)
    for part, colour in COLOURS.items():
        own = [(changes[part], place) for place, (_, changes) in enumerate(layers) if part in changes]
        if own:
            axes.plot(*zip(*own, strict=True), "o", color=colour, markersize=6, label=part, clip_on=False)
    axes.set_yticks(places, [name for name, _ in layers])
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower right", frameon=False, title="in 8 bits", alignment="left")


def _title(report: Mapping[str, Any]) -> str:
    whole = {row["part"]: row["change"] for row in report["rows"] if row["layer"] == "all"}
    parts = ", ".join(f"{part} {whole[part]:.3f}" for part in COLOURS if part in whole)
    first = f"{report['task']}, {report['method']}: one layer in 8 bits, the others in float32"
    return f"{first}\nall layers at once: {whole['both']:.3f} ({parts})"
