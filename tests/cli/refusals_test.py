"""Bad input ends with exit code 2 and one line that says what would be right."""

import json
import re

import pytest

from mobilebert_jax.bench.quality import WAYS
from mobilebert_jax.bench.strategies import STRATEGIES
from mobilebert_jax.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["run", "--work=there"], "unrecognized arguments: --work=there"),
        (["run", "--max_minutes=soon"], "invalid float value: 'soon'"),
        (["run", "--max_minutes=-1"], "--max_minutes=-1.0: a number of minutes is needed"),
        (["run", "--config.seed", "3"], "write --config.seed=value, in one word"),
        (["run", "--config.steps=3"], "no such setting; the nearest are"),
        (["run", "--config=nowhere.py"], "no such file; configs that come with the project"),
        (["run", "--config=mobilebert"], "data.corpus is empty"),
        (["run", "--config.data.corpus=nowhere.txt"], "corpus 'nowhere.txt': no such file"),
        (["run", "--config.finetune.questions=nowhere.json"], "questions 'nowhere.json': no such file"),
        (["run", "--config.teacher.path=nowhere"], "teacher.path=nowhere: no such file"),
        (["prepare", "--config.transfer.strategy=magic"], "transfer.strategy='magic': must be one of progressive"),
        (["run", "--num_processes=2"], "--coordinator=HOST:PORT, --num_processes and --process_id belong together"),
        (["run", "--coordinator=a", "--num_processes=2", "--process_id=0"], "--coordinator=a: HOST:PORT is needed"),
        (["prepare", "--process_id=0"], "unrecognized arguments: --process_id=0"),
        (["pretrain", "--workdir=/dev/null/x"], "--workdir=/dev/null/x: Not a directory"),
        (["finetune"], "required: --model"),
        (["finetune", "--model=nowhere"], "nowhere: not a model folder"),
        (["finetune", "--model=m", "--task=squad3"], "invalid choice: 'squad3'"),
        (["finetune", "--model=m", "--config=mobilebert"], "no questions to train on: give --dataset="),
        (["evaluate", "--dataset=q.json"], "give either --model=DIR or --predictions=FILE"),
        (["evaluate", "--model=m", "--predictions=p", "--dataset=q.json"], "give either --model=DIR or"),
        (["evaluate", "--model=m", "--dataset=q.json"], "questions 'q.json': no such file"),
        (["evaluate", "--model=m", "--dataset=builtin:x"], "builtin:python-docs-qa is the one there is"),
        (["evaluate", "--model=m", "--dataset=q", "--batch_size=0"], "--batch_size=0: must be at least 1"),
        (["evaluate", "--model=m", "--dataset=q", "--config.seed=1"], "`mobilebert evaluate` has no config"),
        (["answer", "who?", "--model=m", "--passage=nowhere"], "--passage=nowhere: No such file or directory"),
        (["quantize", "--model=m"], "quantize: give --output=DIR"),
        (["quantize", "--model=m", "--output=o", "--method=static"], "--method=static: needs --calibration="),
        (["quantize", "--model=m", "--output=o", "--calibration=a.txt"], "--method=dynamic measures no ranges"),
        (["quantize", "--model=m", "--output=o"], "m: not a model folder"),
        (["quantize", "--model=m", "--sensitivity", "--task=rte"], "give --task= and --dataset="),
        (["quantize", "--model=m", "--output=o", "--plot=a.svg"], "--plot=a.svg: goes with --sensitivity"),
        (
            ["quantize", "--model=m", "--sensitivity", "--task=rte", "--dataset=d", "--plot=a.png"],
            "--plot=a.png: an SVG is written",
        ),
        (
            ["finetune", "--model=m", "--task=rte", "--config.finetune.quantize=int4"],
            "must be one of dynamic, weight_only",
        ),
        (["bench", "quantization", "--model=m", "--task=x", "--dataset=d"], "--task=x: must be one of squad1"),
        (["bench", "speed"], "invalid choice: 'speed'"),
        (["bench", "transfer", "--config.seed=1"], "need the config that they change, --config=FILE"),
    ],
)
def test_bad_words_are_refused_in_one_line(refusal, words, message):
    assert message in refusal(*words)


def test_help_is_no_error(command):
    code, out, error = command("--help")
    assert (code, error) == (0, "")
    for name in "run prepare pretrain distill finetune evaluate answer bench".split():
        assert f"    {name} " in out
        assert command(name, "--help")[0] == 0


@pytest.mark.parametrize(("bench", "choices"), [("quality", WAYS), ("strategies", STRATEGIES)])
def test_help_names_every_way_that_a_bench_compares(command, bench, choices):
    words = set(re.split(r"[\s,;]+", command("bench", bench, "--help")[1]))
    assert set(choices) <= words


def test_a_passage_must_be_utf_8(refusal, tmp_path):
    (tmp_path / "p.txt").write_bytes(b"caf\xe9")
    assert "p.txt: not UTF-8" in refusal("answer", "who?", "--model=m", "--passage=p.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", 'an object {"question id": "answer"} is needed'),
        ('{"a": 1}', 'an object {"question id": "answer"} is needed'),
        ("nonsense", "not JSON"),
        ("{}", "48 of 48 questions have no prediction"),
    ],
)
def test_predictions_must_be_texts_by_question(refusal, tmp_path, tiny_run, content, message):
    (tmp_path / "p.json").write_text(content)
    dataset = f"--dataset={tiny_run.folder / 'questions.json'}"
    assert message in refusal("evaluate", "--predictions=p.json", dataset)


def test_squad1_needs_questions_with_answers(refusal, tmp_path):
    question = {"id": "1", "question": "who?", "is_impossible": True}
    squad = {"data": [{"paragraphs": [{"context": "A cat.", "qas": [question]}]}]}
    (tmp_path / "q.json").write_text(json.dumps(squad))
    (tmp_path / "p.json").write_text('{"1": ""}')
    words = ("evaluate", "--predictions=p.json", "--dataset=q.json")
    assert "no question has an answer, squad1 needs some" in refusal(*words, "--task=squad1")


def test_a_config_that_failed_before_anything_was_made_may_be_put_right(command, tiny_run):
    wrong = command("prepare", "--workdir=w", *tiny_run.words, "--config.data.corpus=nowhere.txt")
    assert wrong[0] == 2 and "no such file" in wrong[2]
    assert command("prepare", "--workdir=w", *tiny_run.words)[0] == 0
    assert command("prepare", "--workdir=w", *tiny_run.words, "--config.seed=1")[0] == 2


def test_ctrl_c_ends_without_a_traceback(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("mobilebert_jax.cli.commands.evaluate", interrupted)
    assert main(["evaluate", "--model=m", "--dataset=q"]) == 130
    assert capsys.readouterr() == ("", "")


def test_errors_of_the_program_itself_are_not_hidden(monkeypatch):
    def broken(options):
        raise ZeroDivisionError

    monkeypatch.setattr("mobilebert_jax.cli.commands.evaluate", broken)
    with pytest.raises(ZeroDivisionError):
        main(["evaluate", "--model=m", "--dataset=q"])
