"""A small run's folder, written by those who write real ones."""

import json
import shutil
from pathlib import Path

import pytest

from mobilebert_jax.cli.flags import load_with_source
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.recipes.data import prepare
from mobilebert_jax.recipes.settings import model_config
from mobilebert_jax.recipes.workdir import claim
from mobilebert_jax.report.page import write_report
from mobilebert_jax.training.metrics import MetricsFile
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.files import write_json

HOSTILE = "<script>alert('it')</script> sat on a mat & slept"
SIZES = {"num_hidden_layers": 2, "hidden_size": 16, "embedding_size": 8, "intermediate_size": 12}
STEPS = 8


@pytest.fixture(scope="session")
def complete_run(tiny_run, tmp_path_factory) -> Path:
    """All four phases of eight steps each; models with fresh parameters."""
    folder = tmp_path_factory.mktemp("report") / "run"
    questions = write_questions(folder.with_name("questions.json"))
    overrides = {"data.corpus": tiny_run.folder / "corpus.txt", "finetune.questions": questions, "data.vocab_size": 120}
    overrides |= {f"model.{which}.{name}": size for which in ("teacher", "student") for name, size in SIZES.items()}
    overrides |= {f"model.{which}.intra_bottleneck_size": 8 for which in ("teacher", "student")}
    overrides |= {f"{phase}.steps": STEPS for phase in ("teacher", "transfer", "distill", "finetune")}
    config, source = load_with_source("demo", [f"{name}={value}" for name, value in overrides.items()])
    claim(folder, config, source=source)
    data = prepare(config, folder, Stopper())
    for phase in ("teacher", "transfer", "distill", "finetune"):
        write_metrics(folder, phase)
    for place, which, head in (
        ("teacher/model", "teacher", "pretraining"),
        ("transfer/model", "student", "pretraining"),
        ("distill/model", "student", "pretraining"),
        ("finetune/model", "student", "qa"),
        ("model", "student", "qa"),
    ):
        model = build_model(model_config(config, which, data.tokenizer.vocab_size), head)
        save_pretrained(folder / place, model, init_params(model, 0), data.tokenizer)
    write_answers(folder)
    return folder


@pytest.fixture(scope="session")
def complete_page(complete_run, tmp_path_factory) -> str:
    """The page of the complete run."""
    folder = shutil.copytree(complete_run, tmp_path_factory.mktemp("page") / "run")
    return write_report(folder).read_text(encoding="utf-8")


@pytest.fixture
def run_folder(complete_run, tmp_path) -> Path:
    """A copy of the complete run, to be changed."""
    return Path(shutil.copytree(complete_run, tmp_path / "run"))


def write_questions(path: Path) -> Path:
    """Two articles of one passage and two questions each, of which one is held out."""

    def article(title):
        asked = {"id": f"{title}-0", "question": f"What sat on a mat in {title}?", "is_impossible": False}
        asked["answers"] = [{"text": HOSTILE[:28], "answer_start": 0}]
        silent = {"id": f"{title}-1", "question": "Who <b>flew</b>?", "answers": [], "is_impossible": True}
        return {"title": title, "paragraphs": [{"context": HOSTILE, "qas": [asked, silent]}]}

    path.write_text(json.dumps({"version": "v2.0", "data": [article("a"), article("b")]}))
    return path


def write_metrics(folder: Path, phase: str) -> None:
    """A line every two steps, held-out figures at the start, in the middle and at the end."""
    metrics = MetricsFile(folder / phase / "metrics.jsonl", 0)
    terms = {"transfer": ("hidden", "attention"), "finetune": ("span",)}.get(phase, ("masked_lm", "next_sentence"))
    for step in range(0, STEPS + 1, 2):
        if step:
            stage = f"block {int(step > STEPS // 2)}" if phase == "transfer" else phase
            line = {"step": step, "phase": phase, "stage": stage, "data_wait": 0.001, "learning_rate": 1e-3}
            line |= {term: 5.0 / step for term in terms}
            memory = {"host": step * 2**28}  # 2 GiB at the last step
            metrics.write(line | {"examples_per_second": 64.0, "seconds": 10.0 * step, "memory": memory})
        if step % 4 == 0 and phase != "finetune":
            figures = {term: [4.0 / (step + 1), 5.0 / (step + 1)] if phase == "transfer" else 6.0 for term in terms}
            metrics.write({"step": step, "phase": phase, "heldout": figures})


def write_answers(folder: Path) -> None:
    """Results and predictions: the right place for the first question, an invented one for the second."""
    said = {"text": HOSTILE[29:37], "score": 1.0, "start": 29, "end": 37, "probability": 0.75}
    null = {"text": "", "score": 0.0, "start": None, "end": None, "probability": 0.25}
    right = said | {"text": HOSTILE[:28], "start": 0, "end": 28}
    candidates = {"0": [right, null], "1": [said, null]}
    nbest = {f"{title}-{number}": entries for title in "ab" for number, entries in candidates.items()}
    write_json(folder / "finetune" / "nbest_predictions.json", nbest)
    write_json(folder / "finetune" / "predictions.json", {name: found[0]["text"] for name, found in nbest.items()})
    scores = {"exact": 50.0, "f1": 61.25, "HasAns_f1": 100.0, "NoAns_f1": 0.0, "total": 2, "NoAns_total": 1}
    names = ("no_answer", "first_sentence", "random_entry")
    baselines = {name: scores | {"f1": 10.0 * number} for number, name in enumerate(names, 1)}
    results = {"questions": 2, "task": "squad2", "student": scores, "baselines": baselines}
    write_json(folder / "finetune" / "results.json", results)
