"""How the project's plots look."""

INK, GREY, TRAIN, HELDOUT = "#1f2a37", "#9aa3ad", "#3559c7", "#e0662f"

LOSSES = ("#e3f4ee", "#8fd0c6", "#3f8fb5", "#2f4d94", "#251f4f")
"""Of heat maps, from the least loss to the greatest."""

STYLE = {
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
}
"""Settings for `matplotlib.rc_context`."""
