"""`bench device`: size, work and latency on this processor, of MobileBERT and of what people would take instead.

The files are those that `mobilebert export` writes, run by their own runtimes, one example at a time. Networks are
timed in turn, so that a drifting machine slows all alike; ratios are to BERT_BASE in the same round of turns.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.bench.choices import chosen
from mobilebert_jax.bench.device_memory import RUNNERS, peak_memory
from mobilebert_jax.bench.device_networks import BASELINE, NETWORKS, flops, random_form
from mobilebert_jax.bench.device_paper import FASTER, PAPER, SMALLER
from mobilebert_jax.bench.device_parts import dense_layers
from mobilebert_jax.bench.device_plot import plot_device
from mobilebert_jax.bench.device_table import markdown
from mobilebert_jax.bench.stepping import interleaved
from mobilebert_jax.export import litert, onnx
from mobilebert_jax.export.checks import sample_inputs
from mobilebert_jax.export.formats import PRECISIONS
from mobilebert_jax.export.inference_form import InferenceForm
from mobilebert_jax.export.inference_forward import Forward, forward
from mobilebert_jax.utils.files import write_json, write_text

RUNTIMES = ("litert", "onnx")

Row = dict[str, Any]


def bench_device(
    names: Sequence[str] = (),
    runtimes: Sequence[str] = RUNTIMES,
    precisions: Sequence[str] = PRECISIONS,
    lengths: Sequence[int] = (128, 384),
    threads: Sequence[int] = (1, 2),
    repeats: int = 10,
    show: Callable[[list[Row]], None] = lambda rows: None,
) -> Row:
    """A row for each network, runtime, precision, length and number of threads; `show` gets those of one setting.

    `parts` of the report: of the first length and number of threads, what the dense layers take by themselves.

    Raises:
        UserError: a network, runtime or precision that does not exist, or a missing extra.
    """
    names = chosen(names, tuple(NETWORKS), "--models")
    runtimes = chosen(runtimes, RUNTIMES, "--runtimes")
    precisions = chosen(precisions, PRECISIONS, "--precision")
    made = {name: random_form(NETWORKS[name]) for name in names}
    forms = {name: form for name, (form, _) in made.items()}
    networks = {
        name: {"parameters": count, "flops": {length: flops(form, length) for length in lengths}}
        for name, (form, count) in made.items()
    }
    rows: list[Row] = []
    for setting, files in _files(forms, runtimes, precisions, lengths):
        memory = {name: _memory(setting, file) for name, file in files.items()}
        for count in threads:
            rows += _timed(setting, files, memory, count, repeats)
            show(rows[-len(files) :])
    paper = {"smaller": SMALLER, "faster": FASTER, "networks": PAPER}
    parts = list(_parts(forms, rows, lengths[0], threads[0], repeats))
    return {"repeats": repeats, "networks": networks, "paper": paper, "rows": rows, "parts": parts}


def write_report(report: Row, folder: str | Path) -> None:
    """device.json, device.md with its tables, device.svg with its plot."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "device.json", report)
    write_text(folder / "device.md", markdown(report))
    plot_device(report["rows"], folder / "device.svg")


def _files(
    forms: dict[str, InferenceForm],
    runtimes: Sequence[str],
    precisions: Sequence[str],
    lengths: Sequence[int],
    run: Forward = forward,
) -> Iterator[tuple[Row, dict[str, bytes]]]:
    """(setting, network -> file that computes `run`) for every runtime, precision and length."""
    for runtime in runtimes:
        # Translated once, for all lengths and both precisions.
        models = {name: onnx.onnx_model(form, run) for name, form in forms.items()} if runtime == "onnx" else {}
        for precision in precisions:
            whole = {name: onnx.onnx_file(model, precision) for name, model in models.items()}
            for length in lengths:
                files = whole or {
                    name: litert.litert_file(form, length, precision, run=run) for name, form in forms.items()
                }
                yield {"runtime": runtime, "precision": precision, "length": length}, files


def _memory(setting: Row, file: bytes) -> int | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(file)
        return peak_memory(setting["runtime"], path, setting["length"])


def _timed(
    setting: Row, files: dict[str, bytes], memory: dict[str, int | None], threads: int, repeats: int
) -> list[Row]:
    """Median milliseconds of every file, and how much faster it is than the baseline's."""
    seconds = _seconds(setting, files, threads, repeats)
    base = seconds.get(BASELINE)
    return [
        {
            "network": name,
            **setting,
            "threads": threads,
            "bytes": len(files[name]),
            "memory": memory[name],
            "ms": 1e3 * seconds[name],
            "faster": base / seconds[name] if base else None,
        }
        for name in files
    ]


def _seconds(setting: Row, files: dict[str, bytes], threads: int, repeats: int) -> dict[str, float]:
    """The median of every file's, in turns."""
    (inputs,) = sample_inputs(30_000, [(1, setting["length"])])
    runners = {name: RUNNERS[setting["runtime"]](file, threads) for name, file in files.items()}
    return interleaved({name: lambda run=run: run(*inputs) for name, run in runners.items()}, repeats)


def _parts(
    forms: dict[str, InferenceForm], rows: Sequence[Row], length: int, threads: int, repeats: int
) -> Iterator[Row]:
    """What the dense layers take by themselves in each of the rows of one length and number of threads."""
    whole = {
        (row["runtime"], row["precision"], row["network"]): row["ms"]
        for row in rows
        if (row["length"], row["threads"]) == (length, threads)
    }
    runtimes, precisions = (tuple(dict.fromkeys(key[place] for key in whole)) for place in (0, 1))
    work = {name: flops(form, length, dense_layers) for name, form in forms.items()}
    for setting, files in _files(forms, runtimes, precisions, (length,), dense_layers):
        for name, seconds in _seconds(setting, files, threads, repeats).items():
            of = {"network": name, **setting, "threads": threads}
            ms = whole[setting["runtime"], setting["precision"], name]
            yield {**of, "ms": ms, "dense_ms": 1e3 * seconds, "dense_flops": work[name]}


def print_rows(rows: list[Row]) -> None:
    """The table of one setting."""
    first = rows[0]
    threads = f"{first['threads']} thread{'s' * (first['threads'] > 1)}"
    setting = f"{first['runtime']} {first['precision']}, {first['length']} tokens, {threads}"
    print(f"\n{setting:<40}{'MB':>9}{'peak MB':>9}{'ms':>9}{'faster':>8}")
    for row in rows:
        memory = "?" if row["memory"] is None else f"{row['memory'] / 1e6:,.0f}"
        faster = "" if row["faster"] is None else f"{row['faster']:.2f}"
        print(f"  {row['network']:<38}{row['bytes'] / 1e6:9.1f}{memory:>9}{row['ms']:9.1f}{faster:>8}", flush=True)


def print_networks(report: Row) -> None:
    """Parameters and operations, and what the paper says."""
    for name, own in report["networks"].items():
        work = ", ".join(f"{count / 1e9:.1f} GFLOP at {length}" for length, count in own["flops"].items())
        print(f"{name:<20}{own['parameters'] / 1e6:8.1f} M parameters, {work}")
    paper = report["paper"]
    print(f"the paper's MobileBERT, on a phone: {paper['smaller']} times smaller, {paper['faster']} times faster")
