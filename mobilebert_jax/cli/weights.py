"""`mobilebert import` and `mobilebert export`: other people's weights in, ours out."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.utils.errors import UserError

HEADS = ("none", "pretraining", "masked_lm", "next_sentence", "qa", "classification", "token_classification")


def add_import_options(command: argparse.ArgumentParser) -> None:
    """The options of `import`."""
    command.add_argument("source", metavar="SOURCE", help="a model folder, or a TensorFlow 1 checkpoint's prefix")
    command.add_argument("--output", required=True, metavar="DIR", help="where the model folder goes")
    _head_option(command)
    command.add_argument("--vocab_size", type=int, default=0, help="resize the vocabulary's tables (default: as it is)")
    command.add_argument("--model_config", default="", metavar="FILE", help="a TensorFlow 1 checkpoint's JSON config")
    command.add_argument("--teacher", action="store_true", help="the teacher/ half of a TensorFlow 1 checkpoint")
    command.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")


RUNTIMES = ("onnx", "litert", "stablehlo", "web")
"""Formats that are no model folders: files that another runtime runs."""


def add_export_options(command: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    command.add_argument("--model", required=True, metavar="DIR", help="a model folder")
    command.add_argument("--format", default="hf", choices=["hf", *RUNTIMES], help="default: %(default)s")
    command.add_argument("--output", required=True, metavar="DIR", help="where the result goes")
    _head_option(command)
    text = (
        "of sequences, comma-separated: a litert or stablehlo file each (default: the model's maximum); web: of windows"
    )
    command.add_argument("--lengths", default="", metavar="N,...", help=text)
    text = "float32,int8 or one of them, of onnx, litert and web (default: both; of web int8)"
    command.add_argument("--precision", default="", metavar="NAMES", help=text)
    text = "of onnx, litert and stablehlo: the files must score as the model does on examples of this task"
    command.add_argument("--task", default="", help=text)
    command.add_argument("--dataset", default="", help="of --task, as of evaluate")
    text = "of --dataset, evenly chosen; 0 = all (default: %(default)s)"
    command.add_argument("--examples", type=int, default=100, metavar="N", help=text)
    command.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")


def import_weights(options: argparse.Namespace) -> None:
    """A folder of transformers, or a TensorFlow 1 checkpoint, as a model folder."""
    from mobilebert_jax.export.hugging_face import import_folder, import_tf1
    from mobilebert_jax.export.tf1 import find_prefix

    if options.vocab_size < 0:
        raise UserError(f"--vocab_size={options.vocab_size}: must be at least 1")
    prefix = None if (Path(options.source) / "config.json").is_file() else find_prefix(options.source)
    if prefix is not None:
        if options.head is not None:
            raise UserError("--head: a TensorFlow 1 checkpoint gives the head that it has")
        report = import_tf1(prefix, options.output, options.model_config, options.teacher, options.vocab_size)
    elif options.model_config or options.teacher:
        raise UserError(f"{options.source}: no TensorFlow 1 checkpoint there, --model_config and --teacher need one")
    else:
        report = import_folder(options.source, options.output, _head(options), options.vocab_size)
    _show(report, options)


def export_weights(options: argparse.Namespace) -> None:
    """A model folder for transformers, or a folder of files for another runtime."""
    from mobilebert_jax.export.formats import PRECISIONS, export_model
    from mobilebert_jax.export.hugging_face import export_folder
    from mobilebert_jax.export.web.folder import export_web
    from mobilebert_jax.recipes.place import local_copy

    usual = ("int8",) if options.format == "web" else PRECISIONS
    precisions = tuple(options.precision.split(",")) if options.precision else usual
    if set(precisions) - set(PRECISIONS):
        raise UserError(f"--precision={options.precision}: must be {' or '.join(PRECISIONS)}, or both")
    lengths = [_length(word) for word in filter(None, options.lengths.split(","))]
    source = local_copy(options.model, "--model")
    check = _check(options, source, precisions, lengths)
    if options.format == "hf":
        return _show(export_folder(source, options.output, _head(options)), options)
    if options.format == "web":
        return _show(export_web(source, options.output, _head(options), precisions, lengths), options)
    _show(export_model(source, options.output, options.format, _head(options), precisions, lengths, check), options)


def _check(options: argparse.Namespace, source: Any, precisions: tuple[str, ...], lengths: Sequence[int]) -> Any:
    """The scores' check that was asked for; None where none was."""
    if bool(options.task) != bool(options.dataset):
        raise UserError("export: --task and --dataset go together")
    if not options.task:
        return None
    if options.examples < 0:
        raise UserError(f"--examples={options.examples}: must be positive")
    from mobilebert_jax.recipes.exam import Asked
    from mobilebert_jax.recipes.export_scores import score_check

    asked = Asked(options.task, options.dataset, options.examples)
    return score_check(source, options.format, precisions, tuple(lengths), asked)


def _length(word: str) -> int:
    if not word.isdecimal():
        raise UserError(f"--lengths={word}: numbers of tokens are needed, such as 128,384")
    return int(word)


def _head_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--head", choices=HEADS, help="default: the one that the folder has")


def _head(options: argparse.Namespace) -> str | None:
    if options.head is None:
        return "stored"
    return None if options.head == "none" else options.head


def _show(report: Mapping[str, Any], options: argparse.Namespace) -> None:
    from mobilebert_jax.cli.tables import print_json

    if options.json:
        return print_json({**report, "output": options.output})
    print(f"{report['architecture']}: {report['parameters']:,} parameters, {report['vocab_size']:,} words")
    print(f"tokenizer: {', '.join(report['tokenizer']) or 'none there'}")
    for name, file in report.get("files", {}).items():
        print(f"{name}: {file['bytes'] / 1e6:,.1f} MB, outputs within {file['error']:.1e} of their scale")
    scores = report.get("scores", {"files": {}})
    for precision, found in scores["files"].items():
        print(
            f"{precision} on {scores['examples']} examples of {scores['task']}: {found['score']:.2f}, "
            f"the model {found['model']:.2f}, {found['agreement']:.1f}% of the answers agree"
        )
    print(f"finished: {options.output}")
