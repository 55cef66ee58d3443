"""Model folders with recipes: written by `quantize`, written by fine-tuning, obeyed, refused without a trace."""

import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.quantization.recipe import read_recipe
from mobilebert_jax.recipes.calibration import Wanted
from mobilebert_jax.recipes.evaluate_labels import evaluate_labels
from mobilebert_jax.recipes.exam import Asked
from mobilebert_jax.recipes.finetune_labels import finetune_labels_folder
from mobilebert_jax.recipes.quantize import quantize_folder
from mobilebert_jax.recipes.sensitivity import measure_sensitivity
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from tests.recipes.labels_model import TINY, save_encoder, write_rte


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A model that has learnt RTE as static int8 with relu6, its GLUE folder, and what the run said."""
    folder = tmp_path_factory.mktemp("tuned")
    glue = write_rte(folder / "glue")
    more = [f"finetune.dataset={glue}", "finetune.quantize=static", "finetune.hidden_act=relu6", "finetune.epochs=1"]
    config = load_config("glue:rte", [*TINY, *more])
    results = finetune_labels_folder(config, str(save_encoder(folder / "encoder")), "rte", folder / "run", Stopper())
    return folder / "run" / "model", glue, results


def test_fine_tuning_leaves_the_recipe_that_it_learnt_for(tuned):
    model, glue, results = tuned
    recipe = read_recipe(model)
    assert recipe.method == "static" and len(recipe.samples["input_ids"]) == 40
    assert read_folder_config(model / CONFIG).cfg.hidden_act == "relu6"
    low, high = recipe.ranges["encoder/layers/ffn_0/output/dense/kernel"]
    assert (low >= 0).all() and (high <= 6).all()
    scores = evaluate_labels(model, str(glue), "rte", precision="int8")
    # The run says what its int8 reaches, not what its training computed.
    assert scores["computed_in"] == "int8" and scores["accuracy"] == results["student"]["accuracy"]


def test_a_folder_is_calibrated_on_a_task_or_on_any_text(tuned, tmp_path):
    model, glue, _ = tuned
    report = quantize_folder(model, tmp_path / "task", "static", str(glue), "rte", Wanted(8, 16))
    assert (report["method"], report["examples"]) == ("static", 8) and report["int8_bytes"] < report["float32_bytes"]
    (tmp_path / "text.txt").write_text("bright light\n\ndogs and light\nlight\n")
    quantize_folder(model, tmp_path / "text", "static", str(tmp_path / "text.txt"))
    own, other = (read_recipe(tmp_path / name) for name in ("task", "text"))
    assert len(other.samples["input_ids"]) == 3 and own.ranges.keys() == other.ranges.keys()
    assert any(not np.array_equal(own.ranges[name], other.ranges[name]) for name in own.ranges)
    quantize_folder(model, tmp_path / "text", "weight_only")  # replaces it, calibration and all
    assert read_recipe(tmp_path / "text").method == "weight_only"
    assert not (tmp_path / "text" / "calibration.safetensors").exists()


def test_what_cannot_be_calibrated_is_refused_and_nothing_is_written(tuned, tmp_path):
    model, glue, _ = tuned
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "wrong.tsv").write_text("text\tlabel\nlight\tperhaps\n")
    out = tmp_path / "out"
    for given, words in (
        (("static",), "--method=static: needs --calibration="),
        (("dynamic", "a.txt"), "--calibration=a.txt: --method=dynamic measures no ranges"),
        (("static", str(tmp_path / "empty.txt")), "no text in it"),
        (("static", str(tmp_path / "missing.txt")), "no such file"),
        (("static", str(tmp_path / "wrong.tsv"), "classification"), "label 'perhaps' is none of"),
        (("static", str(glue), "rte", Wanted(8, 999)), "--sequence_length=999: from 3 to the model's 24 positions"),
        (("int4",), "must be one of dynamic, weight_only, static"),
    ):
        with pytest.raises(UserError, match=words):
            quantize_folder(model, out, *given)
        assert not out.exists()


def test_layers_are_told_by_how_much_they_change_the_answers(tuned):
    model, glue, _ = tuned
    report = measure_sensitivity(model, Asked("rte", str(glue), 6), "weight_only")
    rows = report["rows"]
    assert [row["part"] for row in rows[:2]] == ["both", "weights"] and rows[0]["change"] == rows[1]["change"] > 0
    changes = [row["change"] for row in rows[2:]]
    assert changes == sorted(changes, reverse=True)
    assert len({(row["layer"], row["block"]) for row in rows[2:]}) == len(changes)
    assert all(row["score"] + row["lost"] == pytest.approx(report["score"]) for row in rows)
    with pytest.raises(UserError, match="has no head for squad2"):
        measure_sensitivity(model, Asked("squad2", str(glue)), "weight_only")
