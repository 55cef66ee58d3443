import json
import shutil
import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

from mobilebert_jax.cli.main import main
from mobilebert_jax.text.store import TokenStore

PASSAGE = "A cat sat on the mat.\r\nDogs were running through green fields."


@pytest.fixture
def dataset(tiny_run):
    return f"--dataset={tiny_run.folder / 'questions.json'}"


@pytest.fixture
def passage(tmp_path):
    path = tmp_path / "passage.txt"
    path.write_bytes(PASSAGE.encode())
    return f"--passage={path}"


def test_prepare_makes_tokenizer_and_stores_once(command, tiny_run, tmp_path):
    code, out, error = command("prepare", "--workdir=w", *tiny_run.words)
    assert code == 0
    assert error == ""
    store = TokenStore.open(tmp_path / "w" / "data", "train")
    assert f"train: {store.num_documents} documents" in out and "finished: w/data" in out
    code, again, error = command("prepare", "--workdir=w", *tiny_run.words)
    assert (code, again, error) == (0, out, "")


def test_prepare_stops_with_42_when_its_time_is_up_and_leaves_no_half_store(command, tiny_run, tmp_path):
    code, out, error = command("prepare", "--workdir=w", "--max_minutes=1e-9", *tiny_run.words)
    assert (code, out) == (42, "")
    assert "stopped: the time limit is reached" in error and "start the same command again" in error
    assert not (tmp_path / "w" / "data").exists()
    assert command("prepare", "--workdir=w", *tiny_run.words)[0] == 0


def test_the_phases_of_a_finished_run_are_not_trained_again(command, tiny_run, finished_run):
    weights = [path for path in finished_run.rglob("model.safetensors")]
    before = {path: path.stat().st_mtime_ns for path in weights}
    for name, folder in (("pretrain", "teacher/model"), ("distill", "distill/model")):
        code, out, error = command(name, f"--workdir={finished_run}", *tiny_run.words)
        assert (code, out, error) == (0, f"finished: {finished_run / folder}\n", "")
    assert {path: path.stat().st_mtime_ns for path in weights} == before


def test_distill_needs_a_teacher(refusal, command, tiny_run):
    assert command("prepare", "--workdir=w", *tiny_run.words)[0] == 0
    error = refusal("distill", "--workdir=w", *tiny_run.words)
    assert "no teacher there; run `mobilebert pretrain` first or set config.teacher.path" in error


@pytest.fixture
def model(finished_run, tmp_path):
    """The finished model by itself: beside a run's own, `evaluate` keeps what it has found."""
    return shutil.copytree(finished_run / "model", tmp_path / "own" / "model")


def test_evaluate_prints_one_json_object_with_the_official_names(command, model, dataset, tmp_path):
    code, out, _ = command("evaluate", f"--model={model}", dataset, "--json", "--output=scored")
    scores = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    assert (scores["total"], scores["HasAns_total"], scores["NoAns_total"]) == (48, 24, 24)
    assert {"exact", "f1", "HasAns_exact", "NoAns_f1", "best_exact", "best_f1_thresh"} <= scores.keys()
    assert scores.pop("computed_in") == "float32"
    code, out, _ = command("evaluate", "--predictions=scored/predictions.json", dataset, "--json")
    assert code == 0
    assert json.loads(out) == {name: value for name, value in scores.items() if not name.startswith("best_")}
    assert (tmp_path / "scored" / "nbest_predictions.json").is_file()


def test_squad1_always_answers_and_asks_only_what_has_an_answer(command, model, dataset, tmp_path):
    words = ("evaluate", f"--model={model}", dataset, "--task=squad1", "--output=scored")
    code, out, _ = command(*words)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["exact", "f1", "total", "computed_in"]
    assert out.splitlines()[2].split()[1] == "24"
    predictions = json.loads((tmp_path / "scored" / "predictions.json").read_text())
    assert len(predictions) == 24 and all(predictions.values())


def test_evaluate_on_the_builtin_set_adds_baselines(command, model, dataset, monkeypatch, tiny_run):
    squad = json.loads((tiny_run.folder / "questions.json").read_text())
    monkeypatch.setattr("mobilebert_jax.recipes.questions.read_heldout", lambda spec: squad)
    words = ("evaluate", f"--model={model}", "--dataset=builtin:python-docs-qa")
    scores = json.loads(command(*words, "--json")[1])
    assert scores["baselines"]["first_sentence"]["HasAns_exact"] == 100
    assert "baseline first_sentence" in command(*words)[1]


@pytest.mark.parametrize("folder", ["teacher/model", "distill/model"])
def test_a_model_without_a_span_head_is_refused(refusal, finished_run, dataset, passage, folder):
    for words in (("evaluate", dataset), ("answer", "who?", passage)):
        error = refusal(*words, f"--model={finished_run / folder}")
        assert "no span head in it" in error and "`mobilebert finetune --model=" in error


def test_answer_prints_candidates_with_places_in_the_passage(command, finished_run, passage):
    words = ("answer", "who sat?", f"--model={finished_run / 'model'}", passage, "--top_k=3")
    code, out, error = command(*words, "--json")
    assert (code, error) == (0, "") and out.count("\n") == 1
    report = json.loads(out)
    assert set(report) == {"answers", "null_score", "null_probability", "score_difference", "explanation"}
    assert len(report["answers"]) <= 3
    for found in report["answers"]:
        assert PASSAGE[found["start"] : found["end"]] == found["text"]
    code, out, _ = command(*words)
    assert code == 0
    assert len(out.splitlines()) == out.count("%") + 1 + sum(f["text"].count("\n") for f in report["answers"])
    assert report["explanation"] in out


def test_answer_to_an_empty_passage_is_json_too(command, finished_run, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    words = ("answer", "who?", f"--model={finished_run / 'model'}", "--passage=empty.txt", "--json")
    report = json.loads(command(*words)[1])
    assert report["answers"] == [] and report["score_difference"] is None


def test_finetune_on_a_folder_gives_what_the_run_gave_and_refuses_another_model(tiny_run, finished_run, command):
    workdir = tiny_run.folder / "finetuned"
    out, _ = tiny_run.finish("finetune", workdir, f"--model={finished_run / 'distill' / 'model'}")
    assert "4 held-out questions" in out and f"finished: {workdir / 'model'}" in out
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (workdir, finished_run)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[1])
    results = [json.loads((each / "finetune" / "results.json").read_text()) for each in (workdir, finished_run)]
    assert results[0] == results[1]

    words = ("finetune", f"--workdir={workdir}", *tiny_run.words)
    code, again, error = command(*words, f"--model={finished_run / 'distill' / 'model'}")
    assert (code, again, error) == (0, out, "")
    for change, message in (
        (f"--model={finished_run / 'teacher' / 'model'}", "--model: "),
        ("--task=squad1", "--task: "),
    ):
        code, _, error = command(*words, f"--model={finished_run / 'distill' / 'model'}", change)
        assert code == 2 and f"{message}{workdir} was started with another one" in error


def test_finetune_refuses_sequences_longer_than_the_model_s_positions(refusal, tiny_run, finished_run):
    words = ("--workdir=w", *tiny_run.words, "--config.finetune.sequence_length=64")
    error = refusal("finetune", f"--model={finished_run / 'distill' / 'model'}", *words)
    assert "finetune.sequence_length=64: " in error and "max_position_embeddings is 48" in error


def test_warnings_are_one_line_and_remarks_of_libraries_are_not_shown(monkeypatch, capsys):
    def noisy(options):
        warnings.warn("something is odd", stacklevel=1)
        warnings.warn("use the new call", FutureWarning, stacklevel=1)

    monkeypatch.setattr("mobilebert_jax.cli.commands.evaluate", noisy)
    assert main(["evaluate", "--model=m", "--dataset=q"]) == 0
    assert capsys.readouterr() == ("", "mobilebert: warning: something is odd\n")
