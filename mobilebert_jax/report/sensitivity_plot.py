"""The plot of `quantize --sensitivity`: the layers that suffer most from 8 bits, a bar each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilebert_jax.utils.drawing import GREY, INK, STYLE
from mobilebert_jax.utils.files import atomic_path

BARS = 30


def plot_sensitivity(report: Mapping[str, Any], path: str | Path) -> None:
    """Writes an SVG: the change of the logits, on a logarithmic axis, the worst layer on top."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = [row for row in report["rows"] if row["layer"] != "all" and row["change"] > 0][:BARS][::-1]
    names = [_name(row) for row in rows]
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "sensitivity"}):
        drawing = Figure(figsize=(8, 1.2 + 0.22 * len(rows)), layout="constrained")
        axes = drawing.subplots()
        colours = [INK if row["part"] == "weights" else GREY for row in rows]
        axes.barh(range(len(rows)), [row["change"] for row in rows], color=colours)
        axes.set_yticks(range(len(rows)), names)
        axes.set_xscale("log")
        axes.set_xlabel("change of the logits over their deviation; dark: weights, light: activations")
        axes.set_title(f"{report['task']}, {report['method']}: one layer in 8 bits, the others in float32")
        with atomic_path(path) as unfinished:
            drawing.savefig(unfinished, format="svg", metadata={"Date": None})


def _name(row: Mapping[str, Any]) -> str:
    block = "" if row["block"] < 0 else f" {row['block']}"
    name = row["layer"].removeprefix("encoder/").removesuffix("/kernel").removesuffix("/embedding")
    return f"{name}{block}"
