"""What the plot of several strategies shows, read from the drawing itself."""

import re

from mobilebert_jax.bench.strategies_plot import plot_strategies

ROWS = [
    {
        "equal": equal,
        "strategy": name,
        "seed": seed,
        "steps": {},
        "seconds": {},
        "masked_lm": loss + seed / 10,
        "f1": f1,
    }
    for equal, name, loss, f1 in (
        ("steps", "alone", 6.0, 8.0),
        ("steps", "pkt", 5.0, 9.0),
        ("time", "alone", 5.5, 8.5),
        ("time", "pkt", 5.0, 9.0),
        ("teacher", "alone", 5.2, 8.7),
    )
    for seed in range(3)
]


def drawn(tmp_path, rows):
    plot_strategies(rows, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    words = re.findall(r"<text[^>]*>([^<]+)</text>", text)
    return text, words


def test_a_dot_a_seed_in_a_panel_a_figure_and_comparison(tmp_path):
    text, words = drawn(tmp_path, ROWS)
    assert words.count("masked LM, held-out loss") == words.count("held-out questions, F1") == 3
    assert words.count("equal student steps") == words.count("the teacher's time counted") == 2
    # Of two strategies, also where the teacher's time counts: there pkt stands for itself.
    dots = [use for use in re.findall(r"<use [^>]*>", text) if "3559c7" in use]
    assert len(dots) == 2 * 3 * 2 * 3


def test_the_names_stand_once_beside_each_row(tmp_path):
    _, words = drawn(tmp_path, [row for row in ROWS if row["equal"] == "steps"])
    assert words.count("alone") == words.count("pkt") == 2
    assert words.count("equal student time") == 0


def test_one_set_of_rows_is_one_drawing(tmp_path):
    assert drawn(tmp_path, ROWS) == drawn(tmp_path, ROWS)
