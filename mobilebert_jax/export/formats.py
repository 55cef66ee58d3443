"""What `mobilebert export --format=onnx|litert|stablehlo` does: folders that appear whole, checked, or not at all."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from mobilebert_jax.export.checks import (
    FLOAT_BOUND,
    INT8_BOUND,
    Inputs,
    Run,
    check_error,
    largest_error,
    reference,
    sample_inputs,
)
from mobilebert_jax.export.hugging_face import STORED, describe, read_stored
from mobilebert_jax.export.inference_form import InferenceForm, inference_form
from mobilebert_jax.export.litert_int8 import padded
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.folder_config import CONFIG, folder_config
from mobilebert_jax.quantization.recipe import STATIC, Recipe, read_recipe
from mobilebert_jax.text.tokenizer_files import TokenizerFiles
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_folder, write_json
from mobilebert_jax.utils.types import Params

REPORT = "export.json"
"""In every exported folder: what its files are and how far they are off. A folder that has it may be replaced."""
PRECISIONS = ("float32", "int8")
ONNX_NAMES = {"float32": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}
"""Those that transformers.js and onnxruntime clients of transformers look for."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """A file's content, and a way to run it; `shapes`: [B, S] that it takes."""

    name: str
    precision: str
    content: bytes
    run: Callable[[], Run]
    shapes: tuple[tuple[int, int], ...]


def export_model(
    source: str | Path,
    output: str | Path,
    format: str,
    head: str | None = STORED,
    precisions: Sequence[str] = PRECISIONS,
    lengths: Sequence[int] = (),
    check: Callable[[Path], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A model folder's model for another runtime, with its config and tokenizer; returns the report.

    The 8-bit files are quantized as the folder's `quantization.json` says, dynamically where there is none. `lengths`
    of sequences: litert and stablehlo make a file for each (by default the model's maximum); onnx takes any.
    `check` gets the finished folder before anybody sees it; what it returns stands in the report as `scores`.

    Raises:
        UserError: no model, a missing extra, a length beyond the model's, an `output` that is something else, or a
            file whose outputs differ from the model's; nothing is left behind.
    """
    source, output = Path(source), Path(output)
    check_replaceable(output)
    model, params = read_stored(source, head)
    check_lengths(lengths, model.cfg)
    files, recipe = TokenizerFiles(source), read_recipe(source)
    make = {"onnx": onnx_files, "litert": _litert_files, "stablehlo": _stablehlo_files}[format]
    with atomic_folder(output) as folder:
        wanted = tuple(lengths) or (model.cfg.max_position_embeddings,)
        made = make(inference_form(model, params), wanted, precisions, recipe)
        if format == "litert":
            made = (_described(file, model, files) for file in made)
        written = write_checked(folder, made, model, params, recipe)
        report = {"format": format, **describe(model, params, files), "files": written}
        _describe_folder(folder, model, files, report)
        if check:
            report["scores"] = check(folder)
            write_json(folder / REPORT, report)
    return report


def write_checked(
    folder: Path, files: Iterable[Exported], model: nn.Module, params: Params, recipe: Recipe | None = None
) -> dict[str, Any]:
    """Writes the files, each once its own runtime gives the model's outputs; returns their sizes and errors by name.

    `recipe`: the one that those in int8 were made by.
    """
    expected, recipe = reference(model, params), recipe or Recipe()
    written = {}
    for file in files:
        error = largest_error(file.run(), expected, _inputs(model, recipe, file))
        check_error(file.name, error, FLOAT_BOUND if file.precision == "float32" else INT8_BOUND)
        (folder / file.name).parent.mkdir(exist_ok=True)
        (folder / file.name).write_bytes(file.content)
        method = {"method": recipe.method} if file.precision == "int8" else {}
        written[file.name] = {"bytes": len(file.content), "error": error, **method}
    return written


def check_lengths(lengths: Sequence[int], cfg: ModelConfig) -> None:
    """UserError for one that the model does not take."""
    longest = cfg.max_position_embeddings
    for length in lengths:
        if not 2 <= length <= longest:
            raise UserError(f"--lengths={length}: the model takes 2 to {longest} tokens")


def check_replaceable(output: Path) -> None:
    """UserError unless nothing, an empty folder or an exported one lies there."""
    if output.exists() and not (output.is_dir() and (not any(output.iterdir()) or (output / REPORT).is_file())):
        raise UserError(f"{output}: exists and is no exported folder; give a new path")


def _inputs(model: nn.Module, recipe: Recipe, file: Exported) -> list[Inputs]:
    """Random words, but where ranges of activations were measured on real ones: some of these."""
    if file.precision == "float32" or recipe.method != STATIC:
        return sample_inputs(model.cfg.vocab_size, file.shapes)
    rows = len(recipe.samples["input_ids"])
    return [
        tuple(each[np.arange(batch) % rows] for each in padded(recipe.samples, length).values())
        for batch, length in file.shapes
    ]


def _describe_folder(folder: Path, model: nn.Module, files: TokenizerFiles, report: dict[str, Any]) -> None:
    write_json(folder / CONFIG, folder_config(model))
    files.save(folder)
    write_json(folder / REPORT, report)


def onnx_files(
    form: InferenceForm, lengths: tuple[int, ...], precisions: Sequence[str], recipe: Recipe | None = None
) -> Any:
    """One file a precision, named as in `ONNX_NAMES`, for any length."""
    from mobilebert_jax.export import onnx

    model = onnx.onnx_model(form)
    longest = max(lengths)
    shapes = (1, longest), (2, max(2, longest // 2)), (3, 2)
    for precision in precisions:
        content = onnx.onnx_file(model, precision, recipe)
        yield Exported(ONNX_NAMES[precision], precision, content, lambda content=content: onnx.Runner(content), shapes)


def _litert_files(form: InferenceForm, lengths: tuple[int, ...], precisions: Sequence[str], recipe: Recipe) -> Any:
    from mobilebert_jax.export import litert

    for length in lengths:
        for precision in precisions:
            content = litert.litert_file(form, length, precision, recipe)
            name = f"model-{length}{'' if precision == 'float32' else '-int8'}.tflite"
            yield Exported(name, precision, content, lambda content=content: litert.Runner(content), ((1, length),))


def _described(file: Exported, model: nn.Module, files: TokenizerFiles) -> Exported:
    """A .tflite with its metadata, vocabulary and labels."""
    from mobilebert_jax.export import litert
    from mobilebert_jax.export.litert_metadata import described

    content = described(file.content, model, files)
    return dataclasses.replace(file, content=content, run=lambda: litert.Runner(content))


def _stablehlo_files(form: InferenceForm, lengths: tuple[int, ...], precisions: Sequence[str], recipe: Recipe) -> Any:
    from mobilebert_jax.export import stablehlo

    for length in lengths:
        content = stablehlo.stablehlo_bytes(form, length)
        name = f"model-{length}.stablehlo"
        yield Exported(name, "float32", content, lambda content=content: stablehlo.Runner(content), ((1, length),))
