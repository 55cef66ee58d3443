"""Fine-tuning on labels and scoring, by their commands, on a model of two narrow blocks."""

import json
import shutil
import zipfile

import numpy as np
import pytest

from mobilebert_jax.cli.main import TASKS
from mobilebert_jax.recipes.labels import LABEL_TASKS
from mobilebert_jax.recipes.questions import THRESHOLDS
from mobilebert_jax.recipes.selection import BestOnDev
from tests.recipes.labels_model import TINY, save_encoder, write_rte
from tests.recipes.tiny_run import WORDS

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with `encoder`, GLUE's RTE in `glue` and own labels in own.jsonl."""
    place = tmp_path_factory.mktemp("labels")
    save_encoder(place / "encoder")
    write_rte(place / "glue")
    rows = [{"t": f"the cat {'sat' if n % 2 else 'sang'} {'on ' * (n % 5)}", "y": 0.5 * (n % 2)} for n in range(40)]
    (place / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


TAG_OF = {"distant": "B-SEA", "seas": "I-SEA", "sailors": "B-PER"}


def words(place, task="rte", dataset="glue", workdir="w"):
    given = ["finetune", f"--task={task}", f"--model={place / 'encoder'}", f"--dataset={place / dataset}"]
    return [*given, f"--workdir={workdir}", *(f"--config.{override}" for override in TINY)]


def power_cut(command, words, at, monkeypatch):
    """Runs a command in which the power goes after the evaluation at that step, before its line is written."""
    keep = BestOnDev.keep

    def cut(self, step, params, figures):
        keep(self, step, params, figures)
        if step == at:
            raise KeyError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(BestOnDev, "keep", cut)
        with pytest.raises(KeyError, match="power cut"):
            command(*words)


def same_bytes(workdir, other, *names):
    for name in ("finetune/results.json", "model/model.safetensors", *names):
        assert (workdir / name).read_bytes() == (other / name).read_bytes(), name


def test_the_tasks_of_the_flags_are_those_of_the_recipes():
    assert [*THRESHOLDS, *LABEL_TASKS] == TASKS


def test_a_task_is_trained_scored_killed_and_continued(command, place, tmp_path, monkeypatch):
    code, out, error = command(*words(place))
    assert code == 0, error
    assert "rte dev, 12 examples" in out and "majority_class" in out and "finished: w/model" in out
    results = json.loads((tmp_path / "w/finetune/results.json").read_text())
    assert results["examples"] == {"train": 40, "dev": 12} and results["steps"] == 15
    assert results["student"].keys() == {"accuracy"} == results["baselines"]["majority_class"].keys()
    lines = map(json.loads, (tmp_path / "w/finetune/metrics.jsonl").read_text().splitlines())
    scored = {line["step"]: line["heldout"]["score"] for line in lines if "heldout" in line}
    assert scored.keys() == {0, 5, 10, 15}
    assert results["score"] == scored[results["best_step"]] == max(scored[step] for step in (5, 10, 15))
    assert json.loads((tmp_path / "w/model/config.json").read_text())["id2label"] == {
        "0": "entailment",
        "1": "not_entailment",
    }
    assert not (tmp_path / "w/finetune/candidates").exists()
    again = command(*words(place))
    assert again[:2] == (0, out)

    power_cut(command, words(place, workdir="killed"), 10, monkeypatch)
    assert not (tmp_path / "killed/finetune/results.json").exists()
    assert command(*words(place, workdir="killed"))[0] == 0
    same_bytes(tmp_path / "killed", tmp_path / "w", "finetune/dev.tsv")

    given = ("evaluate", "--task=rte", "--model=w/model", f"--dataset={place / 'glue'}", "--sequence_length=16")
    code, out, _ = command(*given, "--json", "--output=scored", "--batch_size=8")
    assert code == 0
    scores = json.loads(out)
    assert scores.pop("computed_in") == "float32"
    assert scores == {"task": "rte", "examples": {"dev": 12}, **results["student"], "score": results["score"]}
    assert (tmp_path / "scored/rte-dev.tsv").read_bytes() == (tmp_path / "w/finetune/dev.tsv").read_bytes()
    assert "accuracy" in command(*given)[1]
    code, out, _ = command(*given, "--part=test", "--output=scored", "--json")
    assert code == 0 and len(json.loads(out)["missing"]) == 10
    with zipfile.ZipFile(tmp_path / "scored/submission.zip") as archive:
        (name,) = archive.namelist()
        rows = archive.read(name).decode().splitlines()
    assert name == "RTE.tsv" and rows[0] == "index\tprediction" and len(rows) == 13
    assert {row.split("\t")[1] for row in rows[1:]} <= {"entailment", "not_entailment"}


def test_tags_of_words(command, refusal, place, tmp_path, caplog):
    path = place / "tags.conll"
    rng = np.random.default_rng(0)
    sentences = [[(word, TAG_OF.get(word, "O")) for word in rng.choice(WORDS, 20)] for _ in range(40)]
    path.write_text("\n\n".join("\n".join(" ".join(pair) for pair in own) for own in sentences))
    code, out, error = command(*words(place, "tokens", "tags.conll", "t"), "--config.finetune.bucketing=false")
    assert code == 0, error
    assert "tags.conll: sentences longer than 16 tokens go on in" in caplog.text and "tokens dev, 4 examples" in out
    results = json.loads((tmp_path / "t/finetune/results.json").read_text())
    assert list(results["student"]) == ["f1", "precision", "recall", "accuracy"]
    assert results["baselines"]["most_frequent_tag"]["f1"] == 100.0 and results["score"] == results["student"]["f1"]
    assert results["student"]["accuracy"] > 80.0
    named = json.loads((tmp_path / "t/model/config.json").read_text())
    assert named["architectures"] == ["MobileBertForTokenClassification"] and named["id2label"]["0"] == "B-PER"

    given = ("evaluate", "--task=tokens", "--model=t/model", "--sequence_length=16", "--json", "--output=scored")
    code, out, _ = command(*given, "--dataset=t/finetune/dev.conll", "--precision=float32")
    assert code == 0
    # The last column is what was predicted.
    assert json.loads(out)["accuracy"] == 100.0
    code, out, _ = command(*given, f"--dataset={path}", "--precision=int8")
    scores = json.loads(out)
    assert scores["computed_in"] == "int8" and scores["examples"] == {"dev": 40} and scores["score"] == scores["f1"]
    assert (tmp_path / "scored/tokens-dev.conll").read_text().count("\n\n") == 39
    path.write_text("cat B-MAT\n")
    assert "tags.conll:1: the tag 'B-MAT' is none of" in refusal(*given, f"--dataset={path}")


def test_numbers_of_one_s_own_learnt_as_8_bits_killed_and_continued(command, place, tmp_path, monkeypatch):
    given = [*words(place, "regression", "own.jsonl", "own"), "--text=t", "--label=y"]
    given += ["--config.finetune.quantize=static", "--config.finetune.hidden_act=relu6"]
    given += [f"--config.finetune.{short}" for short in ("epochs=1", "sequence_length=8")]
    given += [f"--config.finetune.{often}" for often in ("evaluate_every=1", "save_every=2")]
    code, _, error = command(*given)
    assert code == 0, error
    results = json.loads((tmp_path / "own/finetune/results.json").read_text())
    assert results["student"].keys() == {"pearson", "spearman"} and results["baselines"]["mean"]["pearson"] == 0.0
    assert results["examples"]["train"] + results["examples"]["dev"] == 40 and results["steps"] == 4

    again = ["--workdir=killed" if word == "--workdir=own" else word for word in given]
    power_cut(command, again, 3, monkeypatch)
    assert [path.name for path in (tmp_path / "killed/finetune/checkpoints").glob("[0-9]*")] == ["2"]
    assert command(*again)[0] == 0
    same_bytes(tmp_path / "killed", tmp_path / "own", "model/quantization.json", "model/calibration.safetensors")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "no examples of rte to train on: give --dataset="),
        (["--dataset=gone"], "gone: no such folder; GLUE's folder of tsv files"),
        (["--task=ax", "--dataset=gone"], "ax has no training set"),
        (["--task=classification", "--dataset=gone.tsv"], "gone.tsv: no such file"),
        (["--dataset={glue}", "--config.finetune.select=worst"], "finetune.select='worst': must be one of best, last"),
        (["--dataset={glue}", "--config.finetune.epochs=-1"], "finetune.epochs=-1.0"),
        (["--dataset={glue}", "--config.finetune.sequence_length=25"], "max_position_embeddings is 24"),
        (["--dataset={glue}", "--config=configs/glue.py:sst"], "no preset of that name; there are cola, sst2"),
        (["--task=squad2", "--text=t"], "--text=t: is for labelled texts, not for squad2"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(refusal, place, more, message):
    more = [word.format(glue=place / "glue") for word in more]
    assert message in refusal("finetune", "--task=rte", f"--model={place / 'encoder'}", "--workdir=w", *more)


def test_a_model_without_classes_and_a_part_without_labels_are_refused(refusal, place):
    given = ("evaluate", "--task=rte", f"--model={place / 'encoder'}", f"--dataset={place / 'glue'}")
    assert "no classes in it; `mobilebert finetune --task=... --model=" in refusal(*given)
    assert "is for SQuAD; of rte a model is scored" in refusal(*given[:2], "--predictions=p.json", *given[3:])


def test_another_data_set_is_another_run(command, refusal, place, tmp_path):
    shutil.copytree(place / "glue", tmp_path / "glue")
    short = [*words(place, workdir="w"), "--max_minutes=1e-9"]
    assert command(*short)[0] == 42
    (tmp_path / "w/finetune").mkdir(exist_ok=True)
    path = tmp_path / "glue/RTE/dev.tsv"
    path.write_text(path.read_text().replace("dogs", "cats", 1))
    changed = [word.replace(str(place / "glue"), "glue") for word in short]
    assert "finetune.dataset" in refusal(*changed)
