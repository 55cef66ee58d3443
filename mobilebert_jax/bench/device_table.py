"""The tables of `bench device`, as markdown: one for each runtime and precision, the paper's figures with float32's."""

from collections.abc import Sequence
from typing import Any

from mobilebert_jax.bench.device_networks import BASELINE
from mobilebert_jax.bench.device_paper import LENGTH, PAPER, SETTING

Row = dict[str, Any]


def markdown(report: Row) -> str:
    """All tables of a report, each under its title.

    A cell of a latency says milliseconds, and how many times less than the baseline's in the same turns.
    """
    settings = dict.fromkeys((row["runtime"], row["precision"]) for row in report["rows"])
    parts = [_parts(report, runtime) for runtime in dict.fromkeys(runtime for runtime, _ in settings)]
    return "\n".join([*(_section(report, *setting) for setting in settings), *parts])


def _parts(report: Row, runtime: str) -> str:
    """Where a runtime's time goes."""
    rows = {(row["network"], row["precision"]): row for row in report["parts"] if row["runtime"] == runtime}
    precisions = list(dict.fromkeys(precision for _, precision in rows))
    first = next(iter(rows.values()))
    title = f"**{runtime}, where the time goes: {first['length']} tokens, {_threads(first['threads'])}**"
    columns = [(precision, words) for precision in precisions for words in ("dense layers", "the rest")]
    body = []
    for name in report["networks"]:
        cells = [name, f"{rows[name, precisions[0]]['dense_flops'] / 1e9:.1f}"]
        for precision in precisions:
            row = rows[name, precision]
            rate = row["dense_flops"] / row["dense_ms"] / 1e6
            cells += [f"{row['dense_ms']:.1f} ms ({rate:.0f} GFLOP/s)", f"{row['ms'] - row['dense_ms']:.1f} ms"]
        body.append(cells)
    head = ["", "GFLOP of dense layers", *(f"{precision}, {words}" for precision, words in columns)]
    return "\n".join([title, "", *_table(head, body), ""])


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _section(report: Row, runtime: str, precision: str) -> str:
    rows = [row for row in report["rows"] if (row["runtime"], row["precision"]) == (runtime, precision)]
    columns = list(dict.fromkeys((row["length"], row["threads"]) for row in rows))
    times = [f"{length} tokens, {_threads(count)}" for length, count in columns]
    head = ["", "M parameters", f"GFLOP at {columns[0][0]}", "MB", "peak MB", *times]
    body = [_cells(report, name, rows, columns) for name in report["networks"]]
    if precision != "float32" or LENGTH not in dict(columns):
        return "\n".join([f"**{runtime}, {precision}**", "", *_table(head, body), ""])
    told = [_of_paper(name, columns) for name in report["networks"] if name in PAPER]
    return "\n".join([f"**{runtime}, {precision}**", "", *_table(head, body + told), "", f"Paper: {SETTING}.", ""])


def _cells(report: Row, name: str, rows: Sequence[Row], columns: Sequence[tuple[int, int]]) -> list[str]:
    about, length = report["networks"][name], columns[0][0]
    own = {(row["length"], row["threads"]): row for row in rows if row["network"] == name}
    largest = max(own.values(), key=lambda row: row["bytes"])
    memory = [row["memory"] for row in own.values() if row["memory"] is not None]
    return [
        name,
        f"{about['parameters'] / 1e6:.1f}",
        f"{about['flops'][length] / 1e9:.1f}",
        f"{largest['bytes'] / 1e6:.1f}",
        f"{max(memory) / 1e6:.0f}" if memory else "",
        *(_time(own[column]["ms"], own[column]["faster"]) for column in columns),
    ]


def _of_paper(name: str, columns: Sequence[tuple[int, int]]) -> list[str]:
    """The paper's figures stand in the first column of their length, whose threads are others."""
    about = PAPER[name]
    place = next(place for place, (length, _) in enumerate(columns) if length == LENGTH)
    times = [""] * len(columns)
    times[place] = _time(about["ms"], PAPER[BASELINE]["ms"] / about["ms"])
    counts = f"{about['parameters'] / 1e6:.1f}", f"{about['flops'] / 1e9:.1f}" if place == 0 else ""
    return [f"{name}, paper", *counts, "", "", *times]


def _time(ms: float, faster: float | None) -> str:
    return f"{ms:.1f} ms" + ("" if faster is None else f" ({faster:.2f}x)")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
