"""`bench finetune --task`: lengths are counted as fine-tuning draws them, and the ratio is what follows from them."""

import collections
import json

import pytest

from mobilebert_jax.bench.buckets import GROUPS
from mobilebert_jax.cli.main import main
from mobilebert_jax.tasks.epochs import SORTED_STEPS
from mobilebert_jax.tasks.glue_data import load_glue
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.label_features import LabelFeatures
from mobilebert_jax.text.tokenizer import load_tokenizer
from tests.recipes.labels_model import save_encoder, write_rte
from tests.recipes.tiny_run import SIZES, WORDS


def words(folder, *more, task="rte", dataset=""):
    sizes = [f"--config.model.student.{name}={size}" for name, size in SIZES.items()]
    sizes += ["--config.model.student.intra_bottleneck_size=16", "--config.finetune.batch_size=4"]
    sizes += ["--config.finetune.sequence_length=32", f"--config.data.tokenizer={folder / 'model'}"]
    dataset = folder / dataset
    return ["bench", "finetune", f"--task={task}", f"--dataset={dataset}", "--repeats=1", "--json", *sizes, *more]


def test_the_mean_step_is_weighed_by_how_often_each_length_comes(tmp_path, capsys):
    save_encoder(tmp_path / "model")
    write_rte(tmp_path)
    assert main(words(tmp_path)) == 0
    report = json.loads(capsys.readouterr().out)
    features = LabelFeatures.build(
        load_tokenizer(tmp_path / "model"), load_glue(TASKS["rte"], "train", str(tmp_path)), 32
    )
    steps = range(GROUPS * SORTED_STEPS)
    counted = collections.Counter(features.batch(step, 0, 4)["input_ids"].shape[1] for step in steps)
    shares = {row["length"]: row["share"] for row in report["lengths"]}
    assert shares == {length: counted[length] / len(steps) for length in {*counted, 32}}
    assert len(counted) > 1
    mean = sum(row["share"] * row["seconds"] for row in report["lengths"])
    whole = next(row["seconds"] for row in report["lengths"] if row["length"] == 32)
    assert report["ratio"] == pytest.approx(whole / mean)
    assert report["examples_per_second"] == pytest.approx({"buckets": 4 / mean, "whole": 4 / whole})


def test_questions_are_measured_in_windows(tmp_path, capsys):
    save_encoder(tmp_path / "model")
    passages = [" ".join(WORDS[: 1 + number % 3]) for number in range(30)]
    questions = [[{"id": str(n), "question": "a?", "answers": [], "is_impossible": True}] for n in range(30)]
    articles = [
        {"title": str(number), "paragraphs": [{"context": passage, "qas": qas}]}
        for number, (passage, qas) in enumerate(zip(passages, questions, strict=True))
    ]
    (tmp_path / "q.json").write_text(json.dumps({"data": articles}))
    short = ("--config.finetune.max_query_length=4", "--config.finetune.sequence_length=16")
    assert main(words(tmp_path, *short, task="squad2", dataset="q.json")) == 0
    report = json.loads(capsys.readouterr().out)
    lengths = [row["length"] for row in report["lengths"]]
    assert lengths == [8, 16] and report["task"] == "squad2"
    assert sum(row["share"] for row in report["lengths"]) == pytest.approx(1)


def test_bad_words_are_one_line_and_exit_code_2(tmp_path, capsys):
    for more, message in (
        (["--config.data.tokenizer=train"], "give a tokenizer, --config.data.tokenizer=vocab.txt"),
        ([f"--config.data.tokenizer={tmp_path}"], f"{tmp_path}"),
    ):
        assert main(words(tmp_path, *more)) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
