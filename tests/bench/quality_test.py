"""Budgets become steps by what each way's steps cost, and logs become curves; students stand in that take no time."""

import json

import pytest

from mobilebert_jax.bench import students
from mobilebert_jax.bench.quality import WAYS, bench_quality, print_means, reached
from mobilebert_jax.bench.students import seconds_by_step
from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.cli.main import main
from mobilebert_jax.recipes.settings import check_config
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json, write_text

BLOCKS, COSTS = 4, {"progressive": 0.25, "joint": 1.0, "local": 0.8}
"""Seconds of a transfer step; one of distillation takes 0.5."""


def config():
    return load_config("demo", ["transfer.steps=400", "distill.steps=200", "finetune.questions="])


def lines_of(number, steps, cost):
    """Four logged and evaluated steps of a transfer whose losses fall, the upper blocks' slowly."""
    stages = {"stage": "a stage", "step_seconds": {"median": cost}}
    yield {"step": 0, "heldout": {"hidden": [1.0] * BLOCKS}}
    for quarter in range(1, 5):
        step = steps * quarter // 4
        yield {"step": step, "made": number, **stages}
        yield {"step": step, "heldout": {"hidden": [1 / (1 + step / (block + 1)) for block in range(BLOCKS)]}}


@pytest.fixture
def made(monkeypatch):
    """The students that were trained: (way, seed, transfer steps, distill steps)."""
    made = []

    def run_recipe(config, folder, stopper, phases):
        if folder.name == "teacher":
            lines = [{"step": 1, "stage": "teacher", "step_seconds": {"median": 1.0}}]
            lines.append({"step": 1, "heldout": {"masked_lm": 3.0, "masked_lm_accuracy": 0.4}})
            return write(folder / "teacher", lines)
        check_config(config)
        name, seed, transfer, distill = folder.name.rsplit("-", 3)
        made.append((name, int(seed), int(transfer), int(distill)))
        if not (folder / "transfer" / "model").exists():
            write(folder / "transfer", lines_of(len(made), int(transfer), COSTS[config.transfer.strategy]))
            write_text(folder / "transfer" / "model" / "config.json", "{}")
        write_text(folder / "config.json", json.dumps({"config": json.loads(config.to_json())}))
        lines = [{"step": 0, "heldout": {"masked_lm": 5.0 + config.seed, "masked_lm_accuracy": 0.1}}]
        lines += [{"step": int(distill), "stage": "distillation", "step_seconds": {"median": 0.5}}]
        lines += [{"step": int(distill), "heldout": {"masked_lm": 4.0 + config.seed, "masked_lm_accuracy": 0.2}}]
        write(folder / "distill", lines)

    monkeypatch.setattr(students, "run_recipe", run_recipe)
    return made


def write(folder, lines):
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def rows_of(tmp_path, **settings):
    settings = {"seeds": 1, "names": ("pkt", "jkt", "local")} | settings
    report = bench_quality(config(), tmp_path, Stopper(), **settings)
    return {(row["budget"], row["equal"], row["strategy"]): row for row in report["rows"]}, report


@pytest.mark.parametrize("name", WAYS)
def test_blocks_that_learn_at_once_do_so_at_a_falling_rate_unless_the_name_says_otherwise(name):
    changed = config()
    changed.update_from_flattened_dict(WAYS[name].settings)
    falling = changed.transfer.optimizer.end_ratio < 1
    # Over all the steps, or each block's within its own.
    own = changed.transfer.block_end_ratio < 1
    assert own == (name in ("pkt_falling", "local_wave")) and not (own and falling)
    assert (falling or own) == (name not in ("pkt", "pkt_soft", "jkt", "local_constant"))


def test_each_block_gets_as_many_steps_or_each_way_as_much_time_as_block_by_block(made, tmp_path):
    rows, _ = rows_of(tmp_path, budgets=("steps", "1", "0.5"), equal=("steps",))
    # Block by block takes 400 steps of a quarter of a second.
    assert [rows["steps", "steps", name]["steps"]["transfer"] for name in ("pkt", "jkt", "local")] == [400, 100, 100]
    assert [rows["1", "steps", name]["steps"]["transfer"] for name in ("pkt", "jkt", "local")] == [400, 100, 125]
    assert [rows["0.5", "steps", name]["steps"]["transfer"] for name in ("pkt", "jkt", "local")] == [200, 50, 62]
    assert {row["steps"]["distill"] for row in rows.values()} == {200}
    assert len(made) == len(set(made)) == 7


def test_distillation_may_fill_the_time_that_transfer_leaves(made, tmp_path):
    rows, _ = rows_of(tmp_path, budgets=("0.5", "1"), names=("pkt", "local"))
    # 100 s of transfer and 100 s of distillation in all; half of the one leaves 150.4 s for the other.
    assert rows["0.5", "time", "local"]["steps"] == {"transfer": 62, "distill": 301}
    assert rows["1", "time", "local"]["steps"] == {"transfer": 125, "distill": 200}
    copied = read_metrics(tmp_path / "local-0-62-301" / "transfer" / "metrics.jsonl")
    assert copied == read_metrics(tmp_path / "local-0-62-200" / "transfer" / "metrics.jsonl")


def test_losses_are_told_by_block_and_against_the_seconds(made, tmp_path):
    rows, report = rows_of(tmp_path, equal=("steps",))
    row = rows["steps", "steps", "local"]
    assert [seconds for seconds, _ in row["curve"]] == pytest.approx([0.0, 20.0, 40.0, 60.0, 80.0])
    assert row["hidden"] == row["curve"][-1][1] and len(row["hidden"]) == BLOCKS
    assert row["transfer_loss"] == pytest.approx([100 * hidden for hidden in row["hidden"]])
    assert (row["masked_lm_before"], row["masked_lm"]) == (5.0, 4.0)
    assert read_json(tmp_path / "quality.json")["reached"] == report["reached"]
    # 125 steps never come as low as 400 do.
    assert report["reached"] == {"pkt": 1.0, "jkt": None, "local": None}
    assert (tmp_path / "quality.svg").read_text().count("<svg") == 1
    maps = (tmp_path / "quality_maps.svg").read_text()
    assert maps.count("seconds of transfer") == 3 and all(f">{name}</text>" in maps for name in ("pkt", "jkt", "local"))


def test_where_the_reference_s_loss_is_reached_is_said_as_a_share_of_its_time():
    def row(name, seconds, curve):
        return {"strategy": name, "seed": 0, "budget": "1", "seconds": {"transfer": seconds}, "curve": curve}

    rows = [row("pkt", 100.0, [(100.0, [0.2, 0.3])]) | {"hidden": [0.2, 0.3]}]
    rows.append(row("local", 90.0, [(20.0, [0.1, 0.5]), (40.0, [0.1, 0.3]), (90.0, [0.1, 0.2])]))
    assert reached(rows) == {"pkt": 1.0, "local": 0.4}
    # A shorter run may be there sooner: its rate fell sooner.
    shorter = row("local", 30.0, [(30.0, [0.2, 0.3])]) | {"budget": "0.3"}
    assert reached([*rows, shorter]) == {"pkt": 1.0, "local": 0.3}
    assert reached(rows[1:]) == {}


def test_seeds_are_averaged_and_printed(made, tmp_path, capsys):
    _, report = rows_of(tmp_path, names=("pkt", "local"), seeds=2, budgets=("steps",), equal=("steps",))
    pkt, local = report["means"]
    assert pkt["masked_lm"] == {"mean": 4.5, "deviation": 0.5} and len(local["hidden"]) == BLOCKS
    print_means(report)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("pkt ", "local ")) for line in lines) == 2


def test_every_way_is_a_config_that_a_run_takes(made, tmp_path):
    rows, _ = rows_of(tmp_path, names=(), budgets=("steps",), equal=("steps",))
    assert {name for _, _, name in rows} == set(WAYS)


def test_seconds_count_every_stage_s_quickest_line():
    lines = [("a", 2, 1.0), ("a", 4, 3.0), ("b", 5, 0.5)]
    lines = [{"stage": stage, "step": step, "step_seconds": {"median": median}} for stage, step, median in lines]
    assert seconds_by_step([*lines, {"step": 5, "heldout": {}}]) == {2: 2.0, 4: 4.0, 5: 4.5}
    assert seconds_by_step([]) == {}


def test_steps_in_which_fewer_blocks_learn_cost_what_they_do_and_never_more():
    def line(step, median, norms):
        return {"stage": "a", "step": step, "step_seconds": {"median": median}, "grad_norm": norms}

    lines = [line(1, 3.0, [0.5, 2.0]), line(2, 2.0, [0.1, 3.0]), line(3, 1.0, [0.0, 1.0]), line(4, 4.0, [0.0, 0.5])]
    assert seconds_by_step(lines) == {1: 2.0, 2: 4.0, 3: 5.0, 4: 6.0}
    # Other work in the meantime: what fewer blocks take is no more than what all did.
    assert seconds_by_step([*lines[:2], line(3, 9.0, [0.0, 1.0])])[3] == 6.0


@pytest.mark.parametrize("budget", ["0", "-1", "inf", "much"])
def test_a_budget_that_is_none_is_refused(tmp_path, budget):
    with pytest.raises(UserError, match=f"--budgets: '{budget}' is neither `steps` nor a share"):
        rows_of(tmp_path, budgets=(budget,))


def test_an_unknown_way_is_refused_in_one_line(capsys, tmp_path):
    assert main(["bench", "quality", "--ways=sideways", f"--workdir={tmp_path}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--ways=sideways" in line
