"""What the plot of the layers that suffer from 8 bits shows, read from the drawing itself."""

import re

from mobilebert_jax.report.sensitivity_plot import LAYERS, plot_sensitivity


def row(layer, block, part, change):
    return {"layer": layer, "block": block, "part": part, "change": change}


ROWS = [
    row("all", -1, "both", 0.5),
    row("all", -1, "activations", 0.4),
    row("all", -1, "weights", 0.25),
    row("encoder/layers/attention/key/kernel", 3, "activations", 0.3),
    row("encoder/embeddings/word_embeddings/embedding", -1, "weights", 0.2),
    row("encoder/layers/attention/key/kernel", 3, "weights", 0.1),
]


def drawn(path, rows):
    plot_sensitivity({"task": "rte", "method": "static", "rows": rows}, path)
    text = path.read_text()
    return re.findall(r"<use [^>]*(#[0-9a-f]{6})", text), re.findall(r"<text[^>]*>([^<]+)</text>", text)


def test_a_layer_has_one_row_and_a_dot_for_what_of_it_is_quantized(tmp_path):
    dots, words = drawn(tmp_path / "plot.svg", ROWS)
    names = [word for word in words if word.startswith(("attention", "embeddings"))]
    assert names == ["attention/key, block 3", "embeddings/word_embeddings"]
    legend = 1
    assert (dots.count("#1f2a37"), dots.count("#e0662f")) == (2 + legend, 1 + legend)
    assert "all layers at once: 0.500 (weights 0.250, activations 0.400)" in words
    assert "change of the logits, as a share of their deviation" in words


def test_of_many_layers_the_worst_are_drawn_and_the_others_counted(tmp_path):
    many = [row("encoder/layers/ffn/dense/kernel", block, "weights", 0.1 / (block + 1)) for block in range(LAYERS + 5)]
    dots, words = drawn(tmp_path / "plot.svg", [row("all", -1, "both", 0.5), row("all", -1, "weights", 0.5), *many])
    assert dots.count("#1f2a37") == LAYERS + 1 and dots.count("#e0662f") == 0
    assert f"ffn/dense, block {LAYERS - 1}" in words and f"ffn/dense, block {LAYERS}" not in words
    assert "change of the logits, as a share of their deviation; 5 layers with less are not drawn" in words


def test_one_report_is_one_drawing(tmp_path):
    assert drawn(tmp_path / "plot.svg", ROWS) == drawn(tmp_path / "plot.svg", ROWS)
