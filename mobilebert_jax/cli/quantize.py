"""`mobilebert quantize`: how a model becomes int8, and which of its layers suffer from it."""

import argparse
import dataclasses
from typing import Any

METHODS = ("dynamic", "weight_only", "static")
"""A test compares them with those that `quantization` knows."""


def add_quantize_options(command: argparse.ArgumentParser) -> None:
    """The options of `quantize` but the task's and the columns', which other commands have, too."""
    command.add_argument("--model", required=True, metavar="DIR", help="a model folder")
    command.add_argument("--output", default="", metavar="DIR", help="where the model with its recipe goes")
    text = (
        "activations as integers when they come (dynamic, the default), by ranges measured before (static), or not at "
        "all (weight_only)"
    )
    command.add_argument("--method", default="dynamic", choices=METHODS, help=text)
    text = "of static: what ranges are measured on, a .txt or .jsonl; with --task its training examples"
    command.add_argument("--calibration", default="", metavar="FILE", help=text)
    command.add_argument("--examples", type=int, default=0, metavar="N", help="to measure with (default: 128)")
    text = "of the examples (default: 128; of passages 384), or what the model has"
    command.add_argument("--sequence_length", type=int, default=0, help=text)
    text = "in place of a folder: which layers suffer, each quantized alone and scored on --dataset, of --task"
    command.add_argument("--sensitivity", action="store_true", help=text)
    command.add_argument("--dataset", default="", metavar="FILE", help="of --sensitivity, as of evaluate")
    command.add_argument("--top", type=int, default=20, metavar="N", help="layers to print (default: %(default)s)")
    command.add_argument("--plot", default="", metavar="FILE", help="of --sensitivity: an SVG")
    command.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")


def quantize(options: argparse.Namespace) -> None:
    """A model folder with the recipe of its int8, or which of its layers suffer from 8 bits."""
    from mobilebert_jax.cli.tables import print_json
    from mobilebert_jax.recipes.calibration import Wanted
    from mobilebert_jax.recipes.place import local_copy
    from mobilebert_jax.recipes.quantize import quantize_folder
    from mobilebert_jax.recipes.samples import EXAMPLES
    from mobilebert_jax.utils.errors import UserError

    if options.examples < 0 or options.sequence_length < 0:
        raise UserError(f"--examples={options.examples}, --sequence_length={options.sequence_length}: must be positive")
    if options.sensitivity:
        return _sensitivity(options)
    if options.plot or options.dataset:
        given = f"--plot={options.plot}" if options.plot else f"--dataset={options.dataset}"
        raise UserError(f"quantize {given}: goes with --sensitivity, which writes no model")
    if not options.output:
        raise UserError("quantize: give --output=DIR, where the model with its recipe goes")
    model = local_copy(options.model, "--model")
    wanted = Wanted(options.examples or EXAMPLES, options.sequence_length, _columns(options), options.bad_rows)
    report = quantize_folder(model, options.output, options.method, options.calibration, options.task, wanted)
    if options.json:
        return print_json({**report, "output": options.output})
    _print(report)
    print(f"finished: {options.output}")


def _sensitivity(options: argparse.Namespace) -> None:
    """Layers by how much the model's answers change when each is quantized alone."""
    from mobilebert_jax.cli.tables import print_json
    from mobilebert_jax.recipes.exam import Asked
    from mobilebert_jax.recipes.place import local_copy
    from mobilebert_jax.recipes.sensitivity import EXAMPLES, measure_sensitivity
    from mobilebert_jax.report.sensitivity_plot import plot_sensitivity
    from mobilebert_jax.utils.errors import UserError

    if not options.task or not options.dataset:
        raise UserError("quantize --sensitivity: give --task= and --dataset=, what the model is scored on")
    if options.output:
        raise UserError(f"--output={options.output}: --sensitivity writes no model; --plot=FILE writes a plot")
    if options.plot and not options.plot.endswith(".svg"):
        raise UserError(f"--plot={options.plot}: an SVG is written; give a name that ends in .svg")
    asked = Asked(
        options.task,
        options.dataset,
        options.examples or EXAMPLES,
        options.sequence_length,
        _columns(options),
        options.bad_rows,
    )
    model = local_copy(options.model, "--model")
    report = measure_sensitivity(model, asked, options.method, options.calibration)
    if options.plot:
        plot_sensitivity(report, options.plot)
    print_json(report) if options.json else _print_rows(report, options.top)


def _print_rows(report: dict[str, Any], top: int) -> None:
    from mobilebert_jax.report.sensitivity_plot import layer_name

    print(f"{report['task']}, {report['answers']:,} answers, {report['method']}: {report['score']:.2f} in float32")
    print(f"  {'in 8 bits, alone':<48}{'of it':<12}{'change':>8}{'agrees':>10}{'lost':>9}")
    whole = [row for row in report["rows"] if row["layer"] == "all"]
    layers = [row for row in report["rows"] if row["layer"] != "all"][:top]
    for row in whole + layers:
        figures = f"{row['change']:>8.4f}{row['agreement']:>9.2f}%{row['lost']:>9.2f}"
        print(f"  {layer_name(row):<48}{row['part']:<12}{figures}")


def _columns(options: argparse.Namespace) -> Any:
    """Those named, the others as usual; None where none is."""
    from mobilebert_jax.recipes.tokens import TOKENS
    from mobilebert_jax.tasks.own_data import Columns
    from mobilebert_jax.tasks.token_data import TOKEN_COLUMNS

    named = {name: getattr(options, name) for name in ("text", "text_pair", "label") if getattr(options, name)}
    return dataclasses.replace(TOKEN_COLUMNS if options.task == TOKENS else Columns(), **named)


def _print(report: dict[str, Any]) -> None:
    print(f"{report['architecture']}: {report['parameters']:,} parameters, {report['vocab_size']:,} words")
    measured = f", ranges of {report['examples']} examples" if report["examples"] else ""
    print(f"int8: {report['method']}{measured}")
    sizes = [f"{report[name + '_bytes'] / 1e6:,.1f} MB in {name}" for name in ("float32", "int8")]
    print(f"parameters: {', '.join(sizes)}")
