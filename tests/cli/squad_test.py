"""Fine-tuning on questions by its command, on a model of narrow blocks: preset, selection, repeats, refusals."""

import json

import pytest

from mobilebert_jax.recipes.selection import BestOnDev
from tests.recipes.labels_model import save_encoder
from tests.recipes.tiny_run import WORDS, questions_on

pytestmark = pytest.mark.usefixtures("compiled_once")

QUICK = ("epochs=3", "batch_size=8", "log_every=2", "optimizer.learning_rate=3e-3")


def squad(first, last):
    """Articles of one passage, each with an answerable question and one without an answer."""
    articles = []
    for number in range(first, last):
        text = f"{' '.join(WORDS[number % 7 : number % 7 + 2 + number % 3])}. the cat sat."
        paragraphs = [{"context": text, "qas": questions_on(number, text)}]
        articles.append({"title": f"title {number}", "paragraphs": paragraphs})
    return {"version": "v2.0", "data": articles}


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with `encoder`, train.json and dev.json."""
    place = tmp_path_factory.mktemp("squad")
    save_encoder(place / "encoder")
    for part, numbers in (("train", (0, 20)), ("dev", (20, 26))):
        (place / f"{part}.json").write_text(json.dumps(squad(*numbers)))
    return place


def words(place, workdir="w", task="squad2", quick=QUICK):
    given = ["finetune", f"--task={task}", f"--model={place / 'encoder'}", f"--dataset={place / 'train.json'}"]
    given += [f"--dev={place / 'dev.json'}", f"--workdir={workdir}"]
    return [*given, *(f"--config.finetune.{override}" for override in quick)]


def heldout_of(folder):
    lines = map(json.loads, (folder / "finetune/metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["heldout"] for line in lines if "heldout" in line}


def test_the_preset_is_the_task_s_own_with_windows_that_the_model_has_room_for(command, place):
    code, out, error = command(*words(place, quick=()), "--print_config")
    assert code == 0, error
    for line in (
        "sequence_length=24",
        "doc_stride=8",
        "max_query_length=4",
        "epochs=5.0",
        "batch_size=32",
        "select=best",
    ):
        assert f"finetune.{line}" in out.replace("'", ""), line
    _, demo, _ = command("finetune", f"--model={place / 'encoder'}", "--print_config")
    assert "finetune.questions=builtin:python-docs-qa" in demo and "finetune.select=last" in demo


def test_questions_are_trained_on_scored_killed_and_continued(command, place, tmp_path, monkeypatch):
    code, out, error = command(*words(place))
    assert code == 0, error
    assert "12 held-out questions" in out and "best f1" in out and "finished: w/model" in out
    results = json.loads((tmp_path / "w/finetune/results.json").read_text())
    assert results["examples"] == {"train": 40, "dev": 12} and results["steps"] == 15
    scored = heldout_of(tmp_path / "w")
    assert scored.keys() == {0, 5, 10, 15} and {"exact", "f1", "HasAns_f1", "score"} <= scored[5].keys()
    assert results["score"] == scored[results["best_step"]]["f1"] == max(scored[step]["f1"] for step in (5, 10, 15))
    files = {path.name for path in (tmp_path / "w/finetune").glob("*.json")}
    assert {"predictions.json", "nbest_predictions.json", "null_odds.json"} <= files
    assert not (tmp_path / "w/finetune/candidates").exists()
    again = command(*words(place))
    assert again[:2] == (0, out)

    # The power goes after the second evaluation, before its line is written.
    keep = BestOnDev.keep

    def cut(self, step, params, figures):
        keep(self, step, params, figures)
        if step == 10:
            raise KeyError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(BestOnDev, "keep", cut)
        with pytest.raises(KeyError, match="power cut"):
            command(*words(place, "killed"))
    assert command(*words(place, "killed"))[0] == 0
    for name in ("finetune/results.json", "finetune/nbest_predictions.json", "model/model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "w" / name).read_bytes(), name

    given = ("evaluate", "--model=w/model", f"--dataset={place / 'dev.json'}")
    scores = json.loads(command(*given, "--json", "--output=scored", "--batch_size=8")[1])
    assert scores.pop("computed_in") == "float32"
    assert scores == pytest.approx(results["student"])
    shorter = json.loads(command(*given, "--json", "--sequence_length=16")[1])
    assert shorter["total"] == 12
    command(*given, "--json", "--output=strides", "--sequence_length=16", "--doc_stride=1")
    command(*given, "--json", "--output=third", "--sequence_length=16")
    nbest = [json.loads((tmp_path / name / "nbest_predictions.json").read_text()) for name in ("strides", "third")]
    assert nbest[0].keys() == nbest[1].keys() and nbest[0] != nbest[1]  # more windows, other scores
    code, _, error = command(*given, "--sequence_length=25")
    assert code == 2 and "25" in error and "24" in error
    page = command("report", "w")
    assert page[0] == 0 and (tmp_path / "w/report.html").is_file()


def test_seeds_and_grids_are_runs_of_their_own(command, place, tmp_path):
    quick = ("epochs=1", "batch_size=8", "select=last", "bucketing=false")
    given = [*words(place, "seeds", "squad1", quick), "--seeds=2", "--sweep=learning_rate=1e-3"]
    code, out, error = command(*given)
    assert code == 0, error
    report = json.loads((tmp_path / "seeds/results.json").read_text())
    assert len(report["points"]) == 1 and report["seeds"] == [0, 1] and report["task"] == "squad1"
    assert report["points"][0]["student"].keys() == {"exact", "f1", "total"} and "± " in out and "total" not in out
    best = tmp_path / "seeds" / report["best"]
    assert (tmp_path / "seeds/model/model.safetensors").read_bytes() == (best / "model/model.safetensors").read_bytes()
    assert (best / "finetune/predictions.json").is_file() and not (best / "finetune/null_odds.json").exists()


def test_patience_ends_early_and_a_run_goes_on_by_its_own_config(command, place, tmp_path, caplog):
    quick = ("epochs=6", "batch_size=8", "patience=1", "optimizer.learning_rate=1e-9", "bucketing=false")
    assert command(*words(place, "patient", quick=quick), "--max_minutes=1e-9")[0] == 42
    code, _, error = command("finetune", f"--model={place / 'encoder'}", "--workdir=patient")
    assert code == 0, error
    assert caplog.text.count("questions cut after 4 tokens (20-a, 20-b,") == 1
    assert heldout_of(tmp_path / "patient").keys() == {0, 5, 10}
    results = json.loads((tmp_path / "patient/finetune/results.json").read_text())
    assert results["best_step"] == 5 and results["steps"] == 30


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dataset=gone.json"], "gone.json': no such file"),
        (["--dev=gone.json"], "gone.json': no such file"),
        (["--dataset=hf:gone/folder/x"], "no such folder or file: gone/folder/x"),
        (["--text=t"], "--text=t: is for labelled texts, not for squad2"),
        (["--bad_rows=drop"], "--bad_rows=drop: is for labelled texts, not for squad2"),
        (["--task=rte", "--bad_answers=drop"], "--bad_answers=drop: is for questions, not for rte"),
        (["--config.finetune.select=worst"], "finetune.select='worst': must be one of best, last"),
        (["--config=configs/squad.py:squad3"], "no preset of that name; there are squad1, squad2"),
        (["--config=configs/squad.py:squad2,4"], "'4' is no length of a window; at least 16"),
        (["--sweep=rate=1"], "'rate' is none of"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(refusal, place, more, message):
    assert message in refusal(*words(place, quick=()), *more)


def test_answers_elsewhere_are_refused_if_asked(refusal, place, tmp_path):
    bad = squad(0, 6)
    bad["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 999
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    said = refusal(*words(place), "--dataset=bad.json", "--bad_answers=refuse")
    assert "bad.json: 1 of 12 answers are not in their passages (0-a; the first" in said
