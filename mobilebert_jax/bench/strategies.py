"""`bench strategies`: does knowledge transfer pay? The paper's question (sections 3.3 and 4.6), asked at any size.

One teacher; then the same student by each strategy and seed, on the same text. Three comparisons:

    steps     every student makes as many steps in all: those of transfer and distillation together
    time      every student learns as long as that of `pkt`, by the seconds of the first seed's steps
    teacher   the student that needs no teacher also gets the seconds that the teacher took

A teacher that is there already, `teacher.path`, took what the log of the run says whose folder it lies in. Each student
is a run of its own below the folder, with all its files; a killed bench goes on where it stopped.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.bench.choices import chosen
from mobilebert_jax.bench.strategies_plot import plot_strategies
from mobilebert_jax.bench.students import Row, Steps, Strategy, Students, check_seeds, programs_kept, read_test, spread
from mobilebert_jax.recipes.plan_ways import LOCAL
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_json

COMPARISONS = ("steps", "time", "teacher")
MEASURE = "pkt"
"""The strategy whose seconds all others get when time is equal."""
LOSS = "masked_lm"
"""The figure that is also compared seed by seed in the table."""
CLOSE = 0.05
"""Students whose seconds would change by less than this share are not trained anew for equal time."""


FALLING = {"transfer.optimizer.end_ratio": 1e-4}
"""Blocks that all learn at once settle as the rate falls to nothing; stages of one block start at the full one."""


def local_strategy(falling: bool = True, rate: float = 1.0, **settings: Any) -> Strategy:
    """Every block learns from its own loss alone; `settings` are knobs of local transfer, the others are off."""
    knobs = {f"transfer.{name}": value for name, value in (LOCAL | settings).items()}
    return Strategy(knobs | (FALLING if falling else {}), transfers=True, rate=rate)


STRATEGIES = {
    "alone": Strategy(
        {"transfer.strategy": "none", "distill.ground_truth_ratio": 1.0, "transfer.copy": ()}, teacherless=True
    ),
    "pd": Strategy({"transfer.strategy": "none"}),
    "akt": Strategy({"transfer.strategy": "auxiliary"}),
    "jkt": Strategy({"transfer.strategy": "joint"}, transfers=True),
    "local": local_strategy(),
    "local_joint": local_strategy(rate=1.5, joint_share=0.25),
    "pkt": Strategy({"transfer.strategy": "progressive", "transfer.lower_rate": 0.0}, transfers=True),
    "pkt_soft": Strategy({"transfer.strategy": "progressive", "transfer.lower_rate": 0.3}, transfers=True),
    "pkt_hidden": Strategy({"transfer.strategy": "progressive", "transfer.attention": 0.0}, transfers=True),
}
"""alone: masked LM without a teacher, nothing copied from it. pd: distillation of its logits, from its embeddings and
heads, as all that follow. akt, jkt, pkt: transfer beside, before, and block by block before distillation; pkt_soft: the
lower blocks keep learning. local: transfer before distillation, every block from its own loss alone, at a falling rate;
local_joint: from a higher one, its last quarter jointly. pkt_hidden: hidden states without attention maps (the paper's
ablation +FMT; pkt adds +AT).
"""


def bench_strategies(
    config: ConfigDict,
    workdir: str | Path,
    stopper: Stopper,
    names: Sequence[str] = (),
    seeds: int = 3,
    comparisons: Sequence[str] = COMPARISONS,
    datasets: Sequence[str] = (),
    together: int = 1,
    show: Callable[[Row], None] = lambda row: None,
) -> Row:
    """A row for each comparison, strategy and seed: steps, seconds, held-out masked LM, and scores of answers.

    `datasets`: SQuAD json files that each fine-tuned student is scored on beside the config's held-out questions; the
    report has the best baseline of each. `together`: see `Students.side_by_side`. Writes strategies.json and
    strategies.svg into `workdir`, which holds every run, and the compiled programs, which students share. `show` gets
    each row once it is there.

    Raises:
        UserError: bad config, a strategy or comparison that does not exist, or the teacher's seconds are asked for and
            its folder does not say them. Stopped: asked to stop, all is saved.
    """
    names = chosen(names, tuple(STRATEGIES), "--strategies")
    comparisons = chosen(comparisons, COMPARISONS, "--equal")
    check_seeds(seeds, together)
    if datasets and not config.finetune.questions:
        raise UserError(f"--dataset={datasets[0]}: no questions to learn from; set config.finetune.questions")
    # Refused now, not after the first student.
    tests = [read_test(dataset) for dataset in datasets]
    students = Students(config, Path(workdir), stopper, STRATEGIES, tests, together)
    with programs_kept(Path(workdir) / "compiled"):
        return _measured(students, names, seeds, comparisons, show)


def _measured(
    students: Students, names: Sequence[str], seeds: int, comparisons: Sequence[str], show: Callable[[Row], None]
) -> Row:
    students.teacher(counted="teacher" in comparisons)
    rows: list[Row] = []
    numbers = range(students.config.seed, students.config.seed + seeds)
    for comparison in comparisons:
        compared = [name for name in names if comparison != "teacher" or STRATEGIES[name].teacherless]
        wanted = {name: _steps(students, name, comparison) for name in compared}
        students.side_by_side(wanted, numbers)
        for name, steps in wanted.items():
            for row in students.students(name, numbers, steps):
                rows.append({"equal": comparison, **row})
                show(rows[-1])
    baselines = {test.name: test.baseline for test in students.tests}
    report = {
        "seeds": seeds,
        "teacher": students.teacher_row,
        "baselines": baselines,
        "rows": rows,
        "means": means(rows),
    }
    write_json(students.workdir / "strategies.json", report)
    plot_strategies(rows, students.workdir / "strategies.svg")
    return report


def _steps(students: Students, name: str, comparison: str) -> Steps:
    """(transfer, distill) steps of a student; what they take is taken from the first seed's, for all seeds alike.

    Where its seconds would hardly change they are those of equal steps, whose student is there already.
    """
    seed = students.config.seed
    transfer = students.config.transfer.steps if STRATEGIES[name].transfers else 0
    equal = transfer, students.config.transfer.steps + students.config.distill.steps - transfer
    if comparison == "steps":
        return equal
    budget = sum(students.student(MEASURE, seed, _steps(students, MEASURE, "steps"))["seconds"].values())
    budget += students.teacher_row["seconds"] if comparison == "teacher" else 0.0
    factor = budget / sum(students.student(name, seed, equal)["seconds"].values())
    return equal if abs(factor - 1) < CLOSE else (round(factor * equal[0]), round(factor * equal[1]))


def means(rows: Sequence[Row]) -> list[Row]:
    """Mean and deviation over the seeds of every figure, by comparison and strategy.

    `apart`: the same of how far a figure lies above that of `MEASURE` with the same seed, which begins with the same
    weights and sees the same text; {} without it.
    """
    # Its seconds are the measure of time, so its students of equal steps are those of every comparison.
    measure = {row["seed"]: row for row in rows if row["strategy"] == MEASURE}
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["equal"], row["strategy"]), []).append(row)
    made = []
    for (comparison, name), members in groups.items():
        figures = [key for key, value in members[0].items() if isinstance(value, float)]
        made.append({"equal": comparison, "strategy": name, "steps": members[0]["steps"]})
        made[-1]["seconds"] = statistics.mean(sum(each["seconds"].values()) for each in members)
        for figure in figures:
            made[-1][figure] = spread([each[figure] for each in members])
        made[-1]["apart"] = {
            figure: spread([each[figure] - measure[each["seed"]][figure] for each in members])
            for figure in (figures if measure else ())
        }
    return made


def print_row(row: Row) -> None:
    """One student, as soon as it is there."""
    figures = ", ".join(f"{name} {value:.3f}" for name, value in row.items() if isinstance(value, float))
    steps = " + ".join(str(count) for count in row["steps"].values())
    print(f"{row['equal']} {row['strategy']} seed {row['seed']}: {steps} steps, {figures}", flush=True)


def print_means(report: Row) -> None:
    """The table: a line a strategy in each comparison."""
    figures = [name for name, value in report["means"][0].items() if isinstance(value, dict) and "mean" in value]
    took = report["teacher"]["seconds"]
    print(f"teacher: {'?' if took is None else f'{took:,.0f}'} s; means and deviations of {report['seeds']} seeds")
    for comparison in dict.fromkeys(row["equal"] for row in report["means"]):
        head = "".join(f"{name:>24}" for name in figures)
        head += f"{f'{LOSS} - {MEASURE}':>24}" if report["means"][0]["apart"] else ""
        print(f"\nequal {comparison:<13}{'steps':>15}{'seconds':>9}{head}")
        for row in report["means"]:
            if row["equal"] == comparison:
                steps = " + ".join(str(count) for count in row["steps"].values() if count)
                shown = [row[name] for name in figures] + [row["apart"][name] for name in row["apart"] if name == LOSS]
                values = "".join(f"{each['mean']:16.3f} ±{each['deviation']:6.3f}" for each in shown)
                print(f"{row['strategy']:<19}{steps:>15}{row['seconds']:9,.0f}{values}")
    for name, value in report["baselines"].items():
        print(f"best baseline of {name}: {value:.1f}")
