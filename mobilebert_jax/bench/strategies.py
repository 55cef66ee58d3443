"""`bench strategies`: does knowledge transfer pay? The paper's question (sections 3.3 and 4.6), asked at any size.

One teacher; then the same student by each strategy and seed, on the same text. Three comparisons:

    steps     every student makes as many steps in all: those of transfer and distillation together
    time      every student learns as long as that of `pkt`, by the seconds of its own steps
    teacher   the student that needs no teacher also gets the seconds that the teacher took

A teacher that is there already, `teacher.path`, took what the log of the run says whose folder it lies in. Each student
is a run of its own below the folder, with all its files; a killed bench goes on where it stopped.
"""

import collections
import contextlib
import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache
from ml_collections import ConfigDict

from mobilebert_jax.bench.choices import chosen
from mobilebert_jax.bench.strategies_plot import plot_strategies
from mobilebert_jax.models.tensor_files import weights_sha256
from mobilebert_jax.recipes.evaluate import evaluate_folder
from mobilebert_jax.recipes.questions import load_heldout
from mobilebert_jax.recipes.run import run_recipe
from mobilebert_jax.tasks.baselines import baseline_scores
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import file_sha256, read_json, write_json

COMPARISONS = ("steps", "time", "teacher")
MEASURE = "pkt"
"""The strategy whose seconds all others get when time is equal."""
CLOSE = 0.05
"""Students whose seconds would change by less than this share are not trained anew for equal time."""

Row = dict[str, Any]
Steps = tuple[int, int]
"""Of transfer and distillation."""


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One way to a student: what it changes in the config, and whether it has a transfer phase, and no teacher."""

    settings: dict[str, Any]
    transfers: bool = False
    teacherless: bool = False


STRATEGIES = {
    "alone": Strategy(
        {"transfer.strategy": "none", "distill.ground_truth_ratio": 1.0, "transfer.copy": ()}, teacherless=True
    ),
    "pd": Strategy({"transfer.strategy": "none"}),
    "akt": Strategy({"transfer.strategy": "auxiliary"}),
    "jkt": Strategy({"transfer.strategy": "joint"}, transfers=True),
    "local": Strategy({"transfer.strategy": "local", "transfer.joint_share": 0.0}, transfers=True),
    "local_joint": Strategy({"transfer.strategy": "local", "transfer.joint_share": 0.2}, transfers=True),
    "pkt": Strategy({"transfer.strategy": "progressive", "transfer.lower_rate": 0.0}, transfers=True),
    "pkt_soft": Strategy({"transfer.strategy": "progressive", "transfer.lower_rate": 0.3}, transfers=True),
    "pkt_hidden": Strategy({"transfer.strategy": "progressive", "transfer.attention": 0.0}, transfers=True),
}
"""alone: masked LM without a teacher, nothing copied from it. pd: distillation of its logits, from its embeddings and
heads, as all that follow. akt, jkt, pkt: transfer beside, before, and block by block before distillation; pkt_soft: the
lower blocks keep learning. local: transfer before distillation, every block from its own loss alone; local_joint: its
last fifth jointly. pkt_hidden: hidden states without attention maps (the paper's ablation +FMT; pkt adds +AT).
"""


def bench_strategies(
    config: ConfigDict,
    workdir: str | Path,
    stopper: Stopper,
    names: Sequence[str] = (),
    seeds: int = 3,
    comparisons: Sequence[str] = COMPARISONS,
    datasets: Sequence[str] = (),
    show: Callable[[Row], None] = lambda row: None,
) -> Row:
    """A row for each comparison, strategy and seed: steps, seconds, held-out masked LM, and scores of answers.

    `datasets`: SQuAD json files that each fine-tuned student is scored on beside the config's held-out questions; the
    report has the best baseline of each. Writes strategies.json and strategies.svg into `workdir`, which holds every
    run, and the compiled programs, which students share. `show` gets each row once it is there.

    Raises:
        UserError: bad config, a strategy or comparison that does not exist, or the teacher's seconds are asked for and
            its folder does not say them. Stopped: asked to stop, all is saved.
    """
    names = chosen(names, tuple(STRATEGIES), "--strategies")
    comparisons = chosen(comparisons, COMPARISONS, "--equal")
    if seeds < 1:
        raise UserError(f"--seeds={seeds}: must be at least 1")
    if datasets and not config.finetune.questions:
        raise UserError(f"--dataset={datasets[0]}: no questions to learn from; set config.finetune.questions")
    # Refused now, not after the first student.
    tests = [_test(dataset) for dataset in datasets]
    bench = _Bench(config, Path(workdir), stopper, tests)
    with _programs_kept(Path(workdir) / "compiled"):
        return _measured(bench, names, seeds, comparisons, show)


def _measured(
    bench: "_Bench", names: Sequence[str], seeds: int, comparisons: Sequence[str], show: Callable[[Row], None]
) -> Row:
    bench.teacher(counted="teacher" in comparisons)
    rows: list[Row] = []
    for comparison in comparisons:
        for name in names:
            for seed in range(bench.config.seed, bench.config.seed + seeds):
                if comparison != "teacher" or STRATEGIES[name].teacherless:
                    steps = bench.steps(name, comparison, seed)
                    rows.append({"equal": comparison, **bench.student(name, seed, steps)})
                    show(rows[-1])
    baselines = {test.name: test.baseline for test in bench.tests}
    report = {"seeds": seeds, "teacher": bench.teacher_row, "baselines": baselines, "rows": rows, "means": means(rows)}
    write_json(bench.workdir / "strategies.json", report)
    plot_strategies(rows, bench.workdir / "strategies.svg")
    return report


@contextlib.contextmanager
def _programs_kept(folder: Path) -> Iterator[None]:
    """Compiled programs are kept in `folder`, unless JAX has been told of another place: students share them."""
    before = jax.config.jax_compilation_cache_dir
    if not before:
        jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
        compilation_cache.reset_cache()
    try:
        yield
    finally:
        if not before:
            jax.config.update("jax_compilation_cache_dir", before)
            compilation_cache.reset_cache()


class _Test(NamedTuple):
    """A SQuAD json file, what it is for, the hash of its bytes, and the F1 of the best baseline."""

    path: str
    task: str
    sha256: str
    baseline: float

    @property
    def name(self) -> str:
        """What its column is called."""
        return Path(self.path).stem


def _test(dataset: str) -> _Test:
    """SQuAD 1.1 where every question has an answer."""
    questions: list[Question] = load_heldout(dataset, "squad2")
    task = "squad1" if all(question.answers for question in questions) else "squad2"
    baseline = max(scores["f1"] for scores in baseline_scores(questions).values())
    return _Test(dataset, task, file_sha256(dataset), baseline)


class _Bench:
    """The runs below a folder, each with its row in a file, so that one that is finished costs nothing."""

    def __init__(self, config: ConfigDict, workdir: Path, stopper: Stopper, tests: Sequence[_Test]):
        self.config, self.workdir, self.stopper, self.tests = config, workdir, stopper, tests
        self.teacher_row: Row = {}

    def teacher(self, counted: bool) -> None:
        """Trains the teacher of all students, unless the config names one; `counted`: its seconds are needed."""
        if path := self.config.teacher.path:
            seconds = _seconds(Path(path).parent / "metrics.jsonl") or None
            if counted and seconds is None:
                raise UserError(
                    f"config.teacher.path={path}: no run's log beside it says how long it took; "
                    "--equal=steps,time does without"
                )
            self.teacher_row = {"seconds": seconds, "path": path}
            return
        folder = self.workdir / "teacher"
        run_recipe(self.config, folder, self.stopper, ("teacher",))
        self.teacher_row = {**_figures(folder, "teacher"), "seconds": _seconds(folder / "teacher" / "metrics.jsonl")}

    def steps(self, name: str, comparison: str, seed: int) -> Steps:
        """(transfer, distill) steps of a student.

        Where its seconds would hardly change they are those of equal steps, whose student is there already.
        """
        transfer = self.config.transfer.steps if STRATEGIES[name].transfers else 0
        equal = transfer, self.config.transfer.steps + self.config.distill.steps - transfer
        if comparison == "steps":
            return equal
        budget = sum(self.student(MEASURE, seed, self.steps(MEASURE, "steps", seed))["seconds"].values())
        budget += self.teacher_row["seconds"] if comparison == "teacher" else 0.0
        factor = budget / sum(self.student(name, seed, equal)["seconds"].values())
        return equal if abs(factor - 1) < CLOSE else (round(factor * equal[0]), round(factor * equal[1]))

    def student(self, name: str, seed: int, steps: Steps) -> Row:
        """Trains, fine-tunes and scores one student; its row."""
        folder = self.workdir / f"{name}-{seed}-{steps[0]}-{steps[1]}"
        config, path = self._config(name, seed, steps), folder / "row.json"
        sign = {"config": config.to_json(sort_keys=True), "tests": [test.sha256 for test in self.tests]}
        kept = read_json(path) if path.is_file() else {}
        if kept.get("of") != sign:
            row = {"strategy": name, "seed": seed, "steps": dict(zip(("transfer", "distill"), steps, strict=True))}
            kept = {"of": sign, "row": row | self._trained(folder, config)}
            write_json(path, kept)
        return kept["row"]

    def _config(self, name: str, seed: int, steps: Steps) -> ConfigDict:
        config = ConfigDict(self.config.to_dict())
        config.update_from_flattened_dict(STRATEGIES[name].settings)
        config.seed, config.distill.steps = seed, steps[1]
        if steps[0]:
            config.transfer.steps = steps[0]
        if not config.teacher.path:
            teacher = self.workdir / "teacher"
            config.teacher.path = str(teacher / "teacher" / "model")
            config.data.update({"corpus": "", "store": str(teacher / "data")})
        return config

    def _trained(self, folder: Path, config: ConfigDict) -> Row:
        results = run_recipe(config, folder, self.stopper, ("transfer", "distill", "finetune"))
        row: Row = {"seconds": {phase: _seconds(folder / phase / "metrics.jsonl") for phase in ("transfer", "distill")}}
        row |= _figures(folder, "distill")
        # As below: with the best threshold.
        row |= {name: results["student"][f"best_{name}"] for name in ("f1", "exact")} if results else {}
        return row | {test.name: _answers(folder, test) for test in self.tests}


def _answers(folder: Path, test: _Test) -> float:
    """F1 of a student's model, which its folder keeps; where questions lack answers, with the best threshold.

    Training questions all have answers, perhaps: then only the threshold can say when to be silent.
    """
    path = folder / "scores" / f"{test.name}.json"
    sign = {"dataset": test.sha256, "model": weights_sha256(folder / "model")}
    kept = read_json(path) if path.is_file() else {}
    if kept.get("of") != sign:
        kept = {"of": sign, **evaluate_folder(folder / "model", test.path, test.task)}
        write_json(path, kept)
    return kept["f1" if test.task == "squad1" else "best_f1"]


def _seconds(metrics: Path) -> float:
    """Seconds that a phase's training steps take by its log; 0 without one.

    Every stage's steps count as its quickest logged line's, so that other work on the machine is not anybody's cost.
    """
    steps: collections.Counter[str] = collections.Counter()
    quickest: dict[str, float] = {}
    before = 0
    for line in read_metrics(metrics):
        if "heldout" not in line:
            stage, median = line["stage"], line["step_seconds"]["median"]
            steps[stage] += line["step"] - before
            before = line["step"]
            quickest[stage] = min(quickest.get(stage, median), median)
    return sum(count * quickest[stage] for stage, count in steps.items())


def _figures(workdir: Path, phase: str) -> Row:
    """Held-out masked LM at the phase's end."""
    lines = [line["heldout"] for line in read_metrics(workdir / phase / "metrics.jsonl") if "heldout" in line]
    return {name: lines[-1][name] for name in ("masked_lm", "masked_lm_accuracy")}


def means(rows: Sequence[Row]) -> list[Row]:
    """Mean and deviation over the seeds of every figure, by comparison and strategy."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["equal"], row["strategy"]), []).append(row)
    made = []
    for (comparison, name), members in groups.items():
        figures = [key for key, value in members[0].items() if isinstance(value, float)]
        made.append({"equal": comparison, "strategy": name, "steps": members[0]["steps"]})
        made[-1]["seconds"] = statistics.mean(sum(each["seconds"].values()) for each in members)
        for figure in figures:
            values = [each[figure] for each in members]
            made[-1][figure] = {"mean": statistics.mean(values), "deviation": statistics.pstdev(values)}
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
        print(f"\nequal {comparison:<13}{'steps':>15}{'seconds':>9}" + "".join(f"{name:>24}" for name in figures))
        for row in report["means"]:
            if row["equal"] == comparison:
                steps = " + ".join(str(count) for count in row["steps"].values() if count)
                values = "".join(f"{row[name]['mean']:16.3f} ±{row[name]['deviation']:6.3f}" for name in figures)
                print(f"{row['strategy']:<19}{steps:>15}{row['seconds']:9,.0f}{values}")
    for name, value in report["baselines"].items():
        print(f"best baseline of {name}: {value:.1f}")
