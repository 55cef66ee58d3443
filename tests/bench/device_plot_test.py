"""What the plot and the tables of `bench device` show, read from what is written."""

import re

import pytest

from mobilebert_jax.bench.device_plot import COLOURS, plot_device
from mobilebert_jax.bench.device_table import markdown

NETWORKS = {"mobilebert": (25e6, 50.0), "bert_base": (110e6, 250.0), "albert_base": (12e6, 260.0)}
PRECISIONS = {"float32": (4, 1.0), "int8": (1, 0.5)}


def rows_of(lengths=(128, 384), threads=(1, 2)):
    return [
        {
            "network": name,
            "runtime": runtime,
            "precision": precision,
            "length": length,
            "threads": count,
            "bytes": parameters * width,
            "memory": 10**8,
            "ms": ms * share * length / 128 / count,
            "faster": 250 / ms,
        }
        for runtime in ("litert", "onnx")
        for precision, (width, share) in PRECISIONS.items()
        for length in lengths
        for count in threads
        for name, (parameters, ms) in NETWORKS.items()
    ]


def report(rows):
    lengths = {row["length"] for row in rows}
    networks = {
        name: {"parameters": parameters, "flops": {length: 1e9 * length for length in lengths}}
        for name, (parameters, _) in NETWORKS.items()
    }
    first = rows[0]["length"], rows[0]["threads"]
    parts = [row for row in rows if (row["length"], row["threads"]) == first]
    parts = [row | {"dense_ms": 0.75 * row["ms"], "dense_flops": 3e9} for row in parts]
    return {"networks": networks, "rows": rows, "parts": parts}


def drawn(tmp_path, rows):
    plot_device(rows, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    return text, re.findall(r"<text[^>]*>([^<]+)</text>", text)


def marks(text, name):
    """What is drawn in the network's colour: its marks and lines."""
    return len([use for use in re.findall(r"<use [^>]*>", text) if COLOURS[name] in use])


def test_a_panel_a_runtime_and_length_with_a_mark_a_file_and_the_paper_s(tmp_path):
    text, words = drawn(tmp_path, rows_of())
    assert words.count("litert, 128 tokens") == words.count("onnx, 384 tokens") == words.count("1 thread") / 4 == 1
    assert words.count("the paper, 128 tokens") == 1
    assert marks(text, "albert_base") == 2 * 2 * 2  # runtimes, lengths, precisions; the paper has none
    assert marks(text, "mobilebert") == 2 * 2 * 2 + 1
    assert {"float32", "int8", *NETWORKS} <= set(words)


def test_without_the_paper_s_length_it_has_no_panel(tmp_path):
    text, words = drawn(tmp_path, rows_of(lengths=(64,), threads=(2,)))
    assert "litert, 64 tokens" in words and "2 threads" in words
    assert not any(word.startswith("the paper") for word in words)
    assert marks(text, "mobilebert") == 2 * 2


def test_one_set_of_rows_is_one_drawing(tmp_path):
    assert drawn(tmp_path, rows_of())[0] == drawn(tmp_path, rows_of())[0]


def test_a_table_says_sizes_times_and_ratios_and_the_paper_s_beside_float32():
    tables = markdown(report(rows_of())).split("**")
    where = [f"{runtime}, where the time goes: 128 tokens, 1 thread" for runtime in ("litert", "onnx")]
    assert tables[1::2] == ["litert, float32", "litert, int8", "onnx, float32", "onnx, int8", *where]
    lines = tables[2].strip().splitlines()
    assert lines[0].split(" | ")[4:6] == ["peak MB", "128 tokens, 1 thread"]
    assert lines[2].startswith(
        "| mobilebert | 25.0 | 128.0 | 100.0 | 100 | 50.0 ms (5.00x) | 25.0 ms (5.00x) | 150.0 ms"
    )
    assert "| mobilebert, paper | 25.3 | 5.7 |  |  | 62.0 ms (5.52x) |  |" in tables[2]
    assert "bert_base, paper" in tables[2] and "albert_base, paper" not in tables[2] and "paper" not in tables[4]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


@pytest.mark.parametrize("change", [{"memory": None}, {"faster": None}])
def test_what_was_not_measured_stays_empty(change):
    table = markdown(report([row | change for row in rows_of(lengths=(64,), threads=(1,))]))
    assert ("| 64.0 | 100.0 |  | 25.0 ms (5.00x) |" if "memory" in change else "| 100 | 25.0 ms |") in table


def test_a_table_says_what_the_dense_layers_take_at_what_rate_and_what_is_left():
    lines = markdown(report(rows_of())).split("**")[-3].strip().splitlines()
    assert lines[0].count("dense layers") == 3 and lines[0].count("the rest") == 2
    assert lines[2] == "| mobilebert | 3.0 | 37.5 ms (80 GFLOP/s) | 12.5 ms | 18.8 ms (160 GFLOP/s) | 6.2 ms |"
