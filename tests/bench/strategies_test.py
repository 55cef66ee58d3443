"""Who gets how many steps, and what the table says of several seeds; students that take no time stand for real ones."""

import hashlib
import json
import shutil
from pathlib import Path

import jax
import pytest

from mobilebert_jax.bench import students
from mobilebert_jax.bench.strategies import STRATEGIES, bench_strategies, means, print_means
from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.cli.main import main
from mobilebert_jax.recipes.settings import active_phases, check_config
from mobilebert_jax.recipes.side_by_side import in_common
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json, write_text

SECONDS = {"alone": 0.5, "pd": 1.0, "akt": 4.0}
"""Of a step of distillation; with transfer 1.0, and 2.0 of transfer (0.25 block by block)."""


def config():
    return load_config("demo", ["transfer.steps=400", "distill.steps=200", "finetune.questions="])


@pytest.fixture
def made(monkeypatch):
    """The students that were trained: (strategy's name, seed, transfer steps, distill steps)."""
    made = []

    def run_recipe(config, folder, stopper, phases):
        if folder.name == "teacher":
            return write(folder, config, "teacher", config.teacher.steps, 1.0)
        name, seed, transfer, distill = folder.name.rsplit("-", 3)
        check_config(config)
        assert (config.seed, config.distill.steps) == (int(seed), int(distill))
        made.append((name, int(seed), int(transfer), int(distill)))
        if int(transfer):
            assert config.transfer.steps == int(transfer)
            write(folder, config, "transfer", int(transfer), 0.25 if config.transfer.strategy == "progressive" else 2.0)
        write(folder, config, "distill", int(distill), SECONDS.get(name, 1.0))
        scores = {"f1": 1.0, "exact": 1.0, "best_f1": 12.5, "best_exact": 6.0}
        return {"student": scores} if config.finetune.questions else {}

    monkeypatch.setattr(students, "run_recipe", run_recipe)
    return made


def write(folder, config, phase, steps, seconds):
    """What a phase logs whose steps take so many seconds, half of them twice as long: something else was at work."""
    lines = [
        f'{{"step": {step}, "stage": "{phase}", "step_seconds": {{"median": {median}}}}}\n'
        for step, median in ((steps // 2, seconds), (steps, 2 * seconds))
    ]
    heldout = f'{{"step": {steps}, "heldout": {{"masked_lm": {1 + config.seed}.0, "masked_lm_accuracy": 0.5}}}}\n'
    write_text(folder / phase / "metrics.jsonl", "".join([*lines, heldout]))


def rows_of(tmp_path, **settings):
    settings = {"seeds": 1} | settings
    report = bench_strategies(config(), tmp_path, Stopper(), **settings)
    return {(row["equal"], row["strategy"]): row for row in report["rows"]}, report


def test_all_make_as_many_steps(made, tmp_path):
    rows, _ = rows_of(tmp_path, comparisons=("steps",))
    assert {name for _, name in rows} == set(STRATEGIES)
    assert all(sum(row["steps"].values()) == 600 for row in rows.values())
    assert rows["steps", "pd"]["steps"] == {"transfer": 0, "distill": 600}
    assert rows["steps", "jkt"]["seconds"] == {"transfer": 800.0, "distill": 200.0}


def test_all_learn_as_long_as_block_by_block(made, tmp_path):
    rows, _ = rows_of(tmp_path, names=("alone", "akt", "jkt", "pkt"))
    assert sum(rows["steps", "pkt"]["seconds"].values()) == 300
    assert rows["time", "pkt"]["steps"] == rows["steps", "pkt"]["steps"]
    # 600 steps of half a second are 300 already; 4 s a step leave 75; jkt's 1,000 s become 300 in both phases alike.
    assert rows["time", "alone"]["steps"] == {"transfer": 0, "distill": 600}
    assert rows["time", "akt"]["steps"] == {"transfer": 0, "distill": 75}
    assert rows["time", "jkt"]["steps"] == {"transfer": 120, "distill": 60}
    # The demo's teacher: 400 steps of a second.
    assert rows["teacher", "alone"]["steps"] == {"transfer": 0, "distill": 1400}
    assert [name for equal, name in rows if equal == "teacher"] == ["alone"]


def test_a_given_teacher_took_what_its_run_says(made, tmp_path):
    changed = config()
    changed.teacher.path = str(tmp_path / "run" / "teacher" / "model")
    settings = {"names": ("alone", "pkt"), "seeds": 1}
    with pytest.raises(UserError, match=r"model: no run's log beside it says how long it took"):
        bench_strategies(changed, tmp_path / "bench", Stopper(), **settings)
    assert not made
    report = bench_strategies(changed, tmp_path / "bench", Stopper(), comparisons=("steps",), **settings)
    assert report["teacher"]["seconds"] is None
    write(tmp_path / "run", changed, "teacher", 100, 2.0)
    report = bench_strategies(changed, tmp_path / "bench", Stopper(), **settings)
    assert report["teacher"]["seconds"] == pytest.approx(200.0)
    rows = {(row["equal"], row["strategy"]): row["steps"]["distill"] for row in report["rows"]}
    # Block by block takes 300 s; half a second a step.
    assert rows["teacher", "alone"] == 1000


def test_programs_are_compiled_once_for_all_students(made, tmp_path):
    before, seen = jax.config.jax_compilation_cache_dir, []
    bench_strategies(
        config(),
        tmp_path,
        Stopper(),
        names=("pd",),
        comparisons=("steps",),
        seeds=1,
        show=lambda row: seen.append(jax.config.jax_compilation_cache_dir),
    )
    assert seen == [str(tmp_path / "compiled")] and jax.config.jax_compilation_cache_dir == before


def test_seeds_are_averaged_and_the_report_is_kept(made, tmp_path, capsys):
    _, report = rows_of(tmp_path, names=("pd",), comparisons=("steps",), seeds=3)
    (row,) = report["means"]
    assert row["masked_lm"] == {"mean": 2.0, "deviation": pytest.approx((2 / 3) ** 0.5)}
    assert row["seconds"] == 600 and means(report["rows"]) == report["means"]
    assert read_json(tmp_path / "strategies.json")["means"] == report["means"]
    assert (tmp_path / "strategies.svg").read_text().count("equal student steps") == 1
    print_means(report)
    said = capsys.readouterr().out
    assert "pd" in said and row["apart"] == {} and "- pkt" not in said


def test_a_figure_is_compared_with_that_of_block_by_block_seed_by_seed(capsys):
    def row(name, seed, loss):
        return {
            "equal": "steps",
            "strategy": name,
            "seed": seed,
            "steps": {},
            "seconds": {"distill": 1.0},
            "masked_lm": loss,
        }

    losses = {"pkt": (4.0, 4.5, 5.0), "jkt": (3.9, 4.4, 4.9)}
    rows = [row(name, seed, loss) for name, own in losses.items() for seed, loss in enumerate(own)]
    pkt, jkt = means(rows)
    assert pkt["apart"] == {"masked_lm": {"mean": 0.0, "deviation": 0.0}}
    assert jkt["apart"]["masked_lm"]["mean"] == pytest.approx(-0.1)
    assert jkt["apart"]["masked_lm"]["deviation"] == pytest.approx(0.0) and jkt["masked_lm"]["deviation"] > 0.4
    print_means({"means": means(rows), "teacher": {"seconds": 1.0}, "seeds": 3, "baselines": {}})
    head, _, second = capsys.readouterr().out.splitlines()[2:]
    assert head.endswith("masked_lm - pkt") and second.endswith("-0.100 ± 0.000")


@pytest.fixture
def groups(monkeypatch):
    """Who learnt side by side: (phase, [folder's name, ...])."""
    groups = []

    def run_side_by_side(members, workdir, stopper, phases):
        (phase,) = phases
        groups.append((phase, [member.folder.name for member in members]))
        assert len({in_common(member.config, phase) for member in members}) == 1
        for config, folder in members:
            write(folder, config, phase, config[phase].steps, 99.0)
            write_text(folder / phase / "model" / "config.json", "{}")

    monkeypatch.setattr(students, "run_side_by_side", run_side_by_side)
    return groups


def test_the_other_seeds_learn_side_by_side_and_count_as_the_first(made, groups, tmp_path):
    settings = {"names": ("pd",), "comparisons": ("steps",), "seeds": 5}
    for together, expected in ((2, [[1, 2], [3, 4]]), (3, [[1, 2, 3]]), (0, [[1, 2, 3, 4]]), (1, [])):
        groups.clear()
        _, report = rows_of(tmp_path / str(together), together=together, **settings)
        named = [("distill", [f"pd-{seed}-0-600" for seed in seeds]) for seeds in expected]
        assert groups == named
        assert [row["seconds"]["distill"] for row in report["rows"]] == [600.0] * 5
        assert [row["seed"] for row in report["rows"]] == [0, 1, 2, 3, 4]
        rows_of(tmp_path / str(together), together=together, **settings)
        assert groups == named
    groups.clear()
    rows_of(tmp_path / "alone", together=0, **settings | {"names": ("alone",)})
    assert not groups  # no teacher to share


def test_students_of_one_seed_are_distilled_side_by_side_whatever_their_transfer(made, groups, tmp_path):
    names = ("alone", "pd", "akt", "jkt", "pkt")
    rows_of(tmp_path, names=names, comparisons=("steps",), seeds=3, together=0)
    assert groups == [
        ("transfer", ["jkt-1-400-200", "jkt-2-400-200"]),
        ("transfer", ["pkt-1-400-200", "pkt-2-400-200"]),
        ("distill", ["pd-1-0-600", "pd-2-0-600"]),
        ("distill", ["akt-1-0-600", "akt-2-0-600"]),  # its transfer is in there
        ("distill", ["jkt-1-400-200", "pkt-1-400-200"]),
        ("distill", ["jkt-2-400-200", "pkt-2-400-200"]),
    ]


def test_seeds_that_come_later_learn_without_those_that_are_there(made, groups, tmp_path):
    settings = {"names": ("pd",), "comparisons": ("steps",), "together": 0}
    rows_of(tmp_path, seeds=3, **settings)
    rows_of(tmp_path, seeds=5, **settings)
    assert [names for _, names in groups] == [["pd-1-0-600", "pd-2-0-600"], ["pd-3-0-600", "pd-4-0-600"]]


def test_a_group_that_was_cut_off_while_its_models_were_written_is_made_whole(made, groups, tmp_path):
    settings = {"names": ("pd",), "comparisons": ("steps",), "together": 0, "seeds": 4}
    rows_of(tmp_path, **settings)
    ((_, names),) = groups
    digest = hashlib.sha256("+".join(names).encode()).hexdigest()[:8]
    (tmp_path / "side_by_side" / f"distill-of-3-pd-1-0-600-{digest}").mkdir(parents=True)
    shutil.rmtree(tmp_path / "pd-2-0-600" / "distill" / "model")
    rows_of(tmp_path, **settings)
    assert groups == [("distill", names)] * 2


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_a_config_that_can_be_run(name):
    changed = config()
    with changed.unlocked():
        changed.update_from_flattened_dict(STRATEGIES[name].settings)
    check_config(changed)
    assert ("transfer" in active_phases(changed)) == STRATEGIES[name].transfers


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategies=ptk"], "--strategies=ptk: there is no such one, only alone, pd, akt"),
        (["--equal=cost"], "--equal=cost: there is no such one, only steps, time, teacher"),
        (["--seeds=0"], "--seeds=0: must be at least 1"),
        (["--together=-1"], "--together=-1: must be at least 1"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(words, message, capsys, tmp_path):
    assert main(["bench", "strategies", f"--workdir={tmp_path}", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_questions_are_scored_once_by_the_file_s_kind(made, tmp_path, monkeypatch):
    asked = []

    def evaluate_folder(model, dataset, task, sequence_length, doc_stride):
        asked.append((model.parent.name, Path(dataset).stem, task))
        return {"f1": 20.0, **({"best_f1": 55.0} if task == "squad2" else {})}

    monkeypatch.setattr(students, "evaluate_folder", evaluate_folder)
    monkeypatch.setattr(students, "weights_sha256", lambda folder: "0")
    files = [write_squad(tmp_path / f"{name}.json", *answers) for name, answers in QUESTIONS.items()]
    settings = {"names": ("pd",), "comparisons": ("steps",), "datasets": files}
    changed = load_config("demo", ["transfer.steps=400", "distill.steps=200"])
    for _ in range(2):
        (row,) = bench_strategies(changed, tmp_path / "runs", Stopper(), seeds=1, **settings)["rows"]
        assert (row["one"], row["two"]) == (20.0, 55.0)
        assert (row["f1"], row["exact"]) == (12.5, 6.0)
    assert asked == [("pd-0-0-600", "one", "squad1"), ("pd-0-0-600", "two", "squad2")]
    write_squad(tmp_path / "one.json", "cat")
    report = bench_strategies(changed, tmp_path / "runs", Stopper(), seeds=1, **settings)
    assert len(asked) == 3
    # Of the sentence, "dog sees cat" without articles, a third is right and nothing is missing; silence is half right.
    assert report["baselines"] == {"one": pytest.approx(50.0), "two": 50.0}
    with pytest.raises(UserError, match=r"none\.json"):
        bench_strategies(changed, tmp_path / "other", Stopper(), datasets=("none.json",))
    assert not (tmp_path / "other").exists()


QUESTIONS = {"one": ("dog", "cat"), "two": ("dog", "")}


def write_squad(path, *answers):
    """A question for each answer; "" for none."""
    passage = "the dog sees the cat"
    asked = [
        {
            "id": str(number),
            "question": "who?",
            "is_impossible": not answer,
            "answers": [{"text": answer, "answer_start": passage.index(answer)}] if answer else [],
        }
        for number, answer in enumerate(answers)
    ]
    data = [{"title": "t", "paragraphs": [{"context": passage, "qas": asked}]}]
    write_text(path, json.dumps({"version": "v2.0", "data": data}))
    return str(path)


def test_no_questions_no_scores(made, tmp_path):
    rows, _ = rows_of(tmp_path, names=("pd",), comparisons=("steps",))
    assert "f1" not in rows["steps", "pd"]
    with pytest.raises(UserError, match="no questions to learn from"):
        rows_of(tmp_path, names=("pd",), comparisons=("steps",), datasets=("more.json",))
