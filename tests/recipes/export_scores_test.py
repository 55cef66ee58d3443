"""An export is scored on a task before it appears, beside the model that it was made of."""

import json

import numpy as np
import pytest

from mobilebert_jax.cli.main import main
from mobilebert_jax.export.formats import export_model
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.recipes import export_scores
from mobilebert_jax.recipes.exam import Asked
from mobilebert_jax.recipes.export_scores import score_check
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import VARIANTS, random_params
from tests.recipes.labels_model import write_rte
from tests.recipes.tiny_run import WORDS

LABELS = ("entailment", "not_entailment")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(model folder, GLUE's folder)."""
    folder, tokenizer = tmp_path_factory.mktemp("scored"), train_tokenizer([" ".join(WORDS)], 120)
    cfg = VARIANTS["mobilebert"].replace(vocab_size=tokenizer.vocab_size)
    model = build_model(cfg, "classification", label_names=LABELS)
    save_pretrained(folder / "model", model, random_params(model), tokenizer)
    return folder / "model", write_rte(folder / "glue")


@pytest.mark.parametrize(
    ("format", "library"), [("stablehlo", "jax"), ("onnx", "jax2onnx"), ("litert", "litert_converter")]
)
def test_its_files_score_as_the_model_does(format, library, made, tmp_path, capsys):
    pytest.importorskip(library)
    model, glue = made
    words = f"--model={model} --format={format} --output={tmp_path}/out --task=rte --dataset={glue} --lengths=16"
    assert main(["export", *words.split(), "--examples=7", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert json.loads((tmp_path / "out" / "export.json").read_text())["scores"] == scores
    assert (scores["task"], scores["examples"]) == ("rte", 7)
    assert set(scores["files"]) == ({"float32"} if format == "stablehlo" else {"float32", "int8"})
    exact = scores["files"]["float32"]
    assert exact["score"] == exact["model"] and exact["agreement"] == 100 and 0 < exact["score"] <= 100


def test_files_that_answer_otherwise_are_not_left_behind(made, tmp_path, monkeypatch):
    model, glue = made
    load = export_scores.load_exported

    def wrong(folder, head, precision):
        cfg, run = load(folder, head, precision)

        def run_wrong(batch):
            out = run(batch)
            out.logits = -np.asarray(out.logits)
            return out

        return cfg, run_wrong

    monkeypatch.setattr(export_scores, "load_exported", wrong)
    check = score_check(model, "stablehlo", ("float32",), (16,), Asked("rte", str(glue)))
    with pytest.raises(UserError, match=r"stablehlo float32 was not written: 0\.0% of its answers are the model's"):
        export_model(model, tmp_path / "out", "stablehlo", lengths=(16,), check=check)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--task=rte", "export: --task and --dataset go together"),
        ("--task=rat --dataset=GLUE", "--task=rat: must be one of squad1, squad2, cola"),
        ("--task=squad2 --dataset=GLUE", "has no head for squad2; `mobilebert finetune --task=squad2` trains one"),
        ("--task=rte --dataset=nowhere", "nowhere"),
        (
            "--task=rte --dataset=GLUE --format=web",
            "--task=rte: scores are taken of onnx, litert, stablehlo, not of web",
        ),
    ],
)
def test_what_cannot_be_scored_is_one_line(words, message, made, tmp_path, capsys):
    model, glue = made
    given = f"--model={model} --format=stablehlo --output={tmp_path}/out {words.replace('GLUE', str(glue))}"
    assert main(["export", *given.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())
