"""What `mobilebert export --format=web` makes: a page that answers questions about a text, whole in one folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.export.formats import (
    ONNX_NAMES,
    REPORT,
    check_lengths,
    check_replaceable,
    onnx_files,
    write_checked,
)
from mobilebert_jax.export.hugging_face import STORED, describe, read_stored
from mobilebert_jax.export.inference_form import inference_form
from mobilebert_jax.export.web.characters import character_kinds
from mobilebert_jax.export.web.runtime import PACKAGE, WASM, WEBGPU, copy_runtime, runtime_folder, runtime_version
from mobilebert_jax.inference.folders import tokenizer_and_length
from mobilebert_jax.inference.question_answerer import CANDIDATES, QuestionAnswerer
from mobilebert_jax.models.folder_config import CONFIG, folder_config
from mobilebert_jax.models.heads import MobileBertForQuestionAnswering
from mobilebert_jax.quantization.recipe import read_recipe
from mobilebert_jax.text.backend import backend_settings
from mobilebert_jax.text.lengths import window_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.tokenizer_files import TokenizerFiles
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_folder, read_json, write_json

SITE = Path(__file__).parent / "site"
MODEL, RUNTIME = "model", "runtime"
ANSWERING, CHARACTERS = "answering.json", "characters.json"
PARTS = ("BertNormalizer", "BertPreTokenizer", "WordPiece")
"""The tokenizer that the page has."""


def export_web(
    source: str | Path,
    output: str | Path,
    head: str | None = STORED,
    precisions: Sequence[str] = ("int8",),
    lengths: Sequence[int] = (),
) -> dict[str, Any]:
    """A model folder as a question page; returns the report.

    `lengths`: of a window, at most one (default: what `QuestionAnswerer` takes).

    Raises:
        UserError: as `export_model`; also a model without a span head, a tokenizer that is not BERT's WordPiece, or
            npm missing the first time.
    """
    source, output = Path(source), Path(output)
    check_replaceable(output)
    model, params = read_stored(source, head)
    if not isinstance(model, MobileBertForQuestionAnswering):
        raise UserError(f"{source}: a page needs a model that answers questions; `mobilebert finetune` makes one")
    check_lengths(lengths, model.cfg)
    if len(lengths) > 1:
        raise UserError(f"--lengths={','.join(map(str, lengths))}: a page's windows have one length")
    settings = {"sequence_length": lengths[0]} if lengths else {}
    tokenizer = tokenizer_and_length(source, model.cfg, settings, QuestionAnswerer.sequence_length)
    _check_tokenizer(source, tokenizer)
    runtime_folder()
    with atomic_folder(output) as folder:
        shutil.copytree(SITE, folder, dirs_exist_ok=True)
        copy_runtime(folder / RUNTIME, (*WASM, *(WEBGPU if "float32" in precisions else ())))
        place = folder / MODEL
        place.mkdir()
        recipe = read_recipe(source)
        files = onnx_files(inference_form(model, params), (model.cfg.max_position_embeddings,), precisions, recipe)
        written = write_checked(place, files, model, params, recipe)
        write_json(place / CONFIG, folder_config(model))
        tokenizer.save(place)
        write_json(place / CHARACTERS, character_kinds(), indent=None)
        write_json(place / ANSWERING, answering_settings(tokenizer, settings["sequence_length"], written))
        runtime = f"{PACKAGE} {runtime_version()}"
        report = {"format": "web", **describe(model, params, TokenizerFiles(place)), "runtime": runtime}
        report["files"] = {f"{MODEL}/{name}": about for name, about in written.items()}
        write_json(folder / REPORT, report)
    return report


def check_page(folder: str | Path) -> None:
    """UserError unless `export_web` made the folder."""
    report = Path(folder, REPORT)
    if not report.is_file() or read_json(report).get("format") != "web":
        raise UserError(f"{folder}: no page there; `mobilebert export --format=web --output={folder}` makes one")


def _check_tokenizer(source: Path, tokenizer: Tokenizer) -> None:
    settings = backend_settings(tokenizer.backend)
    found = tuple((settings[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model"))
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    plain = not any(token[flag] for token in settings["added_tokens"] for flag in flags)
    if found != PARTS or not plain:
        raise UserError(
            f"{source}: the page reads BERT's WordPiece tokenizers; this one is {', '.join(map(str, found))}"
        )


def answering_settings(tokenizer: Tokenizer, sequence_length: int, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the page has to know to answer as `QuestionAnswerer` does, as plain JSON values."""
    content = {
        precision: {"name": name, "bytes": files[name]["bytes"]}
        for precision, name in reversed(ONNX_NAMES.items())
        if name in files
    }
    return {
        "sequence_length": sequence_length,
        **QuestionAnswerer.usual_shape(sequence_length),
        "window_lengths": window_buckets(sequence_length).tolist(),
        "max_answer_length": QuestionAnswerer.max_answer_length,
        "candidates": CANDIDATES,
        "threshold": QuestionAnswerer.threshold,
        "special_ids": {"pad": tokenizer.pad_id, "cls": tokenizer.cls_id, "sep": tokenizer.sep_id},
        "files": content,
    }
