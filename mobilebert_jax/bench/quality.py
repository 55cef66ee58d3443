"""`bench quality`: what each way of knowledge transfer reaches in how much time, by block and after distillation.

One teacher; then the same student by each way, budget and seed, on the same text. A budget is a share of the seconds
that transfer takes block by block, `pkt`; `steps` gives every block as many steps as there. Then the same distillation
from each (`--equal=steps`), or what fills its time up to that of `pkt` (`time`). All seconds are those of the students'
own training steps; each student is a run below the folder, and a killed bench goes on where it stopped.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.bench.choices import chosen
from mobilebert_jax.bench.quality_maps import plot_maps
from mobilebert_jax.bench.quality_plot import plot_quality
from mobilebert_jax.bench.strategies import CLOSE, FALLING, STRATEGIES, local_strategy
from mobilebert_jax.bench.students import (
    Row,
    Steps,
    Strategy,
    Students,
    check_seeds,
    programs_kept,
    read_test,
    seconds_by_step,
    spread,
)
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.stages import TRANSFER_TERMS
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_json

SETTLING = {"transfer.block_end_ratio": 1e-4}
"""The rate of each block falls to nothing over the steps in which it learns."""
WAYS = {
    **{name: STRATEGIES[name] for name in ("pkt", "pkt_soft", "jkt", "local", "local_joint")},
    "pkt_falling": Strategy(STRATEGIES["pkt"].settings | SETTLING, transfers=True, rate=2.0),
    "local_wave": local_strategy(falling=False, rate=1.5, block_stops=(0.6, 1.0), block_end_ratio=1e-4),
    "jkt_falling": Strategy(STRATEGIES["jkt"].settings | FALLING, transfers=True),
    "local_constant": local_strategy(falling=False),
    "local_4": local_strategy(updates=4),
    "local_fed": local_strategy(teacher_fed=(1.0, 0.0)),
    "local_fed_joint": local_strategy(rate=2.0, joint_share=0.25, teacher_fed=(1.0, 0.5)),
    "fed": local_strategy(teacher_fed=(1.0, 1.0)),
}
"""As in `bench strategies`; pkt_falling: the rate of each stage falls from twice the constant one; local_wave: blocks
settle one after another, from the bottom up; jkt_falling: at the falling rate that all local ways have but
local_constant; local_4: four updates from each batch; local_fed: the teacher feeds ever fewer blocks, in the end none;
local_fed_joint: half of them when the last quarter begins, in which all learn jointly; fed: all to the end."""
REFERENCE = "pkt"
EQUAL = ("steps", "time")
"""What is equal of the distillation that follows."""


def bench_quality(
    config: ConfigDict,
    workdir: str | Path,
    stopper: Stopper,
    names: Sequence[str] = (),
    seeds: int = 3,
    budgets: Sequence[str] = ("steps", "1"),
    equal: Sequence[str] = EQUAL,
    datasets: Sequence[str] = (),
    together: int = 1,
    show: Callable[[Row], None] = lambda row: None,
) -> Row:
    """A row for each budget, way, seed and kind of distillation: steps, seconds, held-out losses, scores of answers.

    `hidden` and `attention` are held-out transfer losses of every block on the student's own walk; `transfer_loss` is
    all four with the config's factors, what blocks learn from; `curve` is (seconds, `hidden`) at each evaluation.
    `together`: see `Students.side_by_side`. Writes quality.json, quality.svg and quality_maps.svg into `workdir`.
    `show` gets each row.

    Raises:
        UserError: bad config, or a way, budget or comparison that does not exist. Stopped: asked to stop, all is saved.
    """
    names, equal = chosen(names, tuple(WAYS), "--ways"), chosen(equal, EQUAL, "--equal")
    check_seeds(seeds, together)
    for budget in budgets:
        _share(budget)
    if datasets and not config.finetune.questions:
        raise UserError(f"--dataset={datasets[0]}: no questions to learn from; set config.finetune.questions")
    tests = [read_test(dataset) for dataset in datasets]
    students = Students(config, Path(workdir), stopper, WAYS, tests, together)
    numbers = range(config.seed, config.seed + seeds)
    with programs_kept(Path(workdir) / "compiled"):
        students.teacher(counted=False)
        rows = []
        for budget in budgets:
            for kind in equal:
                wanted = {name: _steps(students, name, budget, kind) for name in names}
                students.side_by_side(wanted, numbers)
                for name, steps in wanted.items():
                    for row in _rows(students, name, numbers, steps):
                        rows.append({"budget": budget, "equal": kind, **row})
                        show(rows[-1])
    report = {"seeds": seeds, "teacher": students.teacher_row, "rows": rows, "means": means(rows)}
    report["reached"] = reached(rows)
    write_json(students.workdir / "quality.json", report)
    plot_quality(rows, students.workdir / "quality.svg")
    plot_maps(rows, students.workdir / "quality_maps.svg")
    return report


def _share(budget: str) -> float | None:
    """A budget as a share of the reference's seconds; None for equal steps a block."""
    if budget == "steps":
        return None
    try:
        share = float(budget)
    except ValueError:
        share = 0.0
    if not 0 < share < float("inf"):
        raise UserError(f"--budgets: {budget!r} is neither `steps` nor a share of the time above 0, such as 0.5")
    return share


def _rows(students: Students, name: str, seeds: Sequence[int], steps: Steps) -> list[Row]:
    """The rows of a way's students."""
    rows = students.students(name, seeds, steps)
    folders = [students.folder(name, seed, steps) for seed in seeds]
    alone = folders[:1] * len(folders) if students.joined(name, seeds) else folders
    factors = {term: students.config.transfer[term] for term in TRANSFER_TERMS}
    return [row | _transferred(folder, paced, factors) for row, folder, paced in zip(rows, folders, alone, strict=True)]


def _steps(students: Students, name: str, budget: str, equal: str) -> Steps:
    """Of transfer and distillation; with as little time left or right as `CLOSE` both kinds are one."""
    steps, distill = _transfer_steps(students, name, budget), students.config.distill.steps
    if equal == "time":
        reference = _seconds(students, REFERENCE, None)
        taken = _seconds(students, name, steps)["transfer"]
        factor = (sum(reference.values()) - taken) / reference["distill"]
        distill = distill if abs(factor - 1) < CLOSE else max(round(factor * distill), 1)
    return steps, distill


def _equal_steps(students: Students, name: str) -> int:
    """Transfer steps with which every block has as many updates as in the config's progressive transfer."""
    steps, blocks = students.config.transfer.steps, students.config.model.student.num_hidden_layers
    settings = WAYS[name].settings
    if settings["transfer.strategy"] == "progressive":
        return steps
    return max(steps // blocks // settings.get("transfer.updates", 1), 1)


def _transfer_steps(students: Students, name: str, budget: str) -> int:
    """Of a budget; what a step costs is taken from the first seed's student of equal steps, for all seeds alike."""
    equal, share = _equal_steps(students, name), _share(budget)
    if share is None:
        return equal
    cost = _seconds(students, name, None)["transfer"] / equal
    steps = share * _seconds(students, REFERENCE, None)["transfer"] / cost
    least = students.config.model.student.num_hidden_layers * 2
    return equal if abs(steps / equal - 1) < CLOSE else max(round(steps), least)


def _seconds(students: Students, name: str, steps: int | None) -> dict[str, float]:
    """Of the first seed's student, with the config's distillation."""
    steps = _equal_steps(students, name) if steps is None else steps
    return students.student(name, students.config.seed, (steps, students.config.distill.steps))["seconds"]


def _transferred(folder: Path, alone: Path, factors: Mapping[str, float]) -> Row:
    """What the logs of a run say of its transfer, and of its masked LM before distillation.

    What its steps take is what they took `alone`, another's folder where it learnt side by side with others.
    """
    lines = read_metrics(folder / "transfer" / "metrics.jsonl")
    took = {0: 0.0} | seconds_by_step(read_metrics(alone / "transfer" / "metrics.jsonl"))
    heldout = [(line["step"], line["heldout"]) for line in lines if "heldout" in line]
    last = heldout[-1][1]
    found = {name: last[name] for name in ("hidden", "attention") if name in last}
    terms = [[factors[term] * value for value in last[term]] for term in factors if term in last]
    found["transfer_loss"] = [sum(values) for values in zip(*terms, strict=True)]
    found["curve"] = [(took[step], losses["hidden"]) for step, losses in heldout if step in took]
    before = next(line["heldout"] for line in read_metrics(folder / "distill" / "metrics.jsonl") if "heldout" in line)
    return found | {"masked_lm_before": before["masked_lm"]}


def means(rows: Sequence[Row]) -> list[Row]:
    """Mean and deviation over the seeds of every figure, those of blocks as lists."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["budget"], row["equal"], row["strategy"]), []).append(row)
    made = []
    for (budget, equal, name), members in groups.items():
        made.append({"budget": budget, "equal": equal, "strategy": name, "steps": members[0]["steps"]})
        made[-1]["seconds"] = {
            phase: statistics.mean(each["seconds"][phase] for each in members) for phase in members[0]["seconds"]
        }
        for figure, value in members[0].items():
            if isinstance(value, float):
                made[-1][figure] = spread([each[figure] for each in members])
            elif figure in ("hidden", "attention", "transfer_loss"):
                made[-1][figure] = [spread(values) for values in zip(*(each[figure] for each in members), strict=True)]
    return made


def reached(rows: Sequence[Row]) -> dict[str, float | None]:
    """Way -> in what share of the reference's time its last block comes as low as the reference's does in the end.

    By the quickest of a seed's runs, the mean over the seeds; None where one does not get there, {} without the
    reference.
    """
    whole = {row["seed"]: row for row in rows if row["strategy"] == REFERENCE and row["budget"] in ("steps", "1")}
    found: dict[str, float | None] = {}
    for name in dict.fromkeys(row["strategy"] for row in rows):
        shares = []
        for seed, reference in whole.items():
            own = [row for row in rows if row["strategy"] == name and row["seed"] == seed]
            curves = [point for row in own for point in row["curve"]]
            times = [seconds for seconds, hidden in curves if hidden[-1] <= reference["hidden"][-1]]
            shares.append(min(times) / reference["seconds"]["transfer"] if times else None)
        if shares:
            found[name] = None if None in shares else statistics.mean(shares)
    return found


def print_row(row: Row) -> None:
    """One student, as soon as it is there."""
    steps = " + ".join(str(count) for count in row["steps"].values())
    print(
        f"{row['budget']} {row['strategy']} seed {row['seed']}: {steps} steps, {row['seconds']['transfer']:.1f} s of "
        f"transfer, hidden {_blocks(row['hidden'])}, masked LM {row['masked_lm_before']:.3f} -> {row['masked_lm']:.4f}",
        flush=True,
    )


def _blocks(values: Sequence[float], digits: int = 4) -> str:
    """First, middle and last block."""
    return " / ".join(f"{values[index]:.{digits}f}" for index in (0, len(values) // 2, -1))


def print_means(report: Row) -> None:
    """The table: a line a way, for each budget and kind of distillation."""
    print(
        "\nhidden, and all losses with their factors: held out, first / middle / last block; means and deviations of "
        f"{report['seeds']} seeds"
    )
    for budget, equal in dict.fromkeys((row["budget"], row["equal"]) for row in report["means"]):
        title = "steps a block as pkt" if budget == "steps" else f"{budget} of pkt's time"
        print(f"\n{title}; distillation: equal {equal}")
        heads = f"{'':<14}{'steps':>14}{'transfer s':>12}{'hidden':>26}{'± last':>9}{'all losses':>21}"
        print(f"{heads}{'before':>9}{'masked LM':>18}")
        for row in report["means"]:
            if (row["budget"], row["equal"]) == (budget, equal):
                print(_line(row))
    for name, share in report["reached"].items():
        text = "not reached" if share is None else f"reached after {share:.2f} of its time"
        print(f"{name}: the last block's loss of {REFERENCE}: {text}")


def _line(row: dict[str, Any]) -> str:
    steps = " + ".join(str(count) for count in row["steps"].values())
    hidden, losses = row["hidden"], [each["mean"] for each in row["transfer_loss"]]
    before, after = row["masked_lm_before"], row["masked_lm"]
    cells = f"{steps:>14}{row['seconds']['transfer']:12.1f}{_blocks([each['mean'] for each in hidden]):>26}"
    cells += f"{hidden[-1]['deviation']:9.4f}{_blocks(losses, 2):>21}"
    cells += f"{before['mean']:9.4f}{after['mean']:10.4f} ±{after['deviation']:6.4f}"
    more = [name for name in row if name not in KNOWN and isinstance(row[name], dict) and "mean" in row[name]]
    scores = "".join(f"  {name} {row[name]['mean']:.1f} ±{row[name]['deviation']:.1f}" for name in more)
    return f"{row['strategy']:<14}{cells}{scores}"


KNOWN = ("masked_lm", "masked_lm_before", "masked_lm_accuracy", "seconds", "steps")
"""Figures with columns of their own; all others are scores of answers."""
