"""Exported folders in the place of models: each row alone, in the shortest file that holds it."""

import json

import numpy as np
import pytest

from mobilebert_jax.export.exported_folder import computed_in, exported_format, load_exported, loader
from mobilebert_jax.export.formats import export_model
from mobilebert_jax.inference.folders import in_jax
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.quantization.calibration import make_recipe
from mobilebert_jax.quantization.recipe import Recipe, WithRecipe
from mobilebert_jax.text.tokenizer_files import TokenizerFiles
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import INPUTS
from tests.models.model_cases import VARIANTS, batch, random_params, relative_error

MODEL = build_model(VARIANTS["mobilebert"], "qa")
BATCH = dict(zip(INPUTS, batch(MODEL.cfg), strict=True))
SEEN = BATCH["attention_mask"] > 0


def save(path, recipe):
    save_pretrained(path, MODEL, random_params(MODEL), WithRecipe(TokenizerFiles(path), recipe))
    return path


def start_logits(load, path, precision):
    return np.asarray(load(path, "qa", precision)[1](BATCH).start_logits)


def test_an_exported_folder_says_what_its_model_says(tmp_path):
    model = save(tmp_path / "model", Recipe())
    export_model(model, tmp_path / "out", "stablehlo", lengths=(9, 11))
    assert (exported_format(tmp_path / "out"), exported_format(model)) == ("stablehlo", "")
    assert computed_in(tmp_path / "out", "float32") == "stablehlo float32" and computed_in(model, "int8") == "int8"
    assert loader(tmp_path / "out") is load_exported and loader(model) is in_jax
    cfg, run = load_exported(tmp_path / "out", "qa", "float32")
    found = run(BATCH).start_logits
    assert cfg.max_position_embeddings == 11 and found.shape == BATCH["input_ids"].shape
    assert relative_error(found[SEEN], start_logits(in_jax, model, "float32")[SEEN]) < 1e-5
    with pytest.raises(UserError, match="no int8 file of stablehlo in it"):
        load_exported(tmp_path / "out", "qa", "int8")
    (tmp_path / "out" / "export.json").write_text(json.dumps({"format": "web"}))
    with pytest.raises(UserError, match="an export as 'web' cannot be run here"):
        load_exported(tmp_path / "out", "qa", "float32")


@pytest.mark.parametrize("method", ["weight_only", "static"])
@pytest.mark.parametrize(("format", "library"), [("onnx", "jax2onnx"), ("litert", "litert_converter")])
def test_int8_files_obey_the_recipe(format, library, method, tmp_path):
    pytest.importorskip(library)
    recipe = make_recipe(MODEL, random_params(MODEL), method, BATCH if method == "static" else {})
    model = save(tmp_path / "model", recipe)
    report = export_model(model, tmp_path / "out", format, precisions=("int8",), lengths=(11,))
    (file,) = report["files"].values()
    assert file["method"] == method
    found = start_logits(load_exported, tmp_path / "out", "int8")
    plain, same = (start_logits(in_jax, model, precision) for precision in ("float32", "int8"))
    error = relative_error(found[SEEN], plain[SEEN])
    assert 1e-4 < error < (0.2 if method == "static" else 0.05)
    assert relative_error(same[SEEN], plain[SEEN]) < (0.2 if method == "static" else 0.05)
