"""Students of one teacher, each a run of its own below a folder: what benchmarks of ways to a student share."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache
from ml_collections import ConfigDict

from mobilebert_jax.models.tensor_files import weights_sha256
from mobilebert_jax.recipes.defaults import LOCAL_OFF
from mobilebert_jax.recipes.evaluate import evaluate_folder
from mobilebert_jax.recipes.questions import load_heldout
from mobilebert_jax.recipes.run import run_recipe
from mobilebert_jax.recipes.side_by_side import Member, in_common, run_side_by_side
from mobilebert_jax.tasks.baselines import baseline_scores
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_folder, file_sha256, read_json, write_json

Row = dict[str, Any]
Steps = tuple[int, int]
"""Of transfer and distillation."""
AFTER_TRANSFER = ("distill", "finetune", "glue")
"""Parts of a config that a student's transfer does not depend on."""


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One way to a student: what it changes in the config, and whether it has a transfer phase, and no teacher.

    `rate`: what transfer's learning rate is multiplied by.
    """

    settings: dict[str, Any]
    transfers: bool = False
    teacherless: bool = False
    rate: float = 1.0


@contextlib.contextmanager
def programs_kept(folder: Path) -> Iterator[None]:
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


class Test(NamedTuple):
    """A SQuAD json file, what it is for, the hash of its bytes, and the F1 of the best baseline."""

    path: str
    task: str
    sha256: str
    baseline: float

    @property
    def name(self) -> str:
        """What its column is called."""
        return Path(self.path).stem


def check_seeds(seeds: int, together: int) -> None:
    """UserError for numbers of students that make no sense."""
    if seeds < 1:
        raise UserError(f"--seeds={seeds}: must be at least 1")
    if together < 0:
        raise UserError(f"--together={together}: must be at least 1, or 0 for all that there are")


def read_test(dataset: str) -> Test:
    """SQuAD 1.1 where every question has an answer."""
    questions: list[Question] = load_heldout(dataset, "squad2")
    task = "squad1" if all(question.answers for question in questions) else "squad2"
    baseline = max(scores["f1"] for scores in baseline_scores(questions).values())
    return Test(dataset, task, file_sha256(dataset), baseline)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and deviation of one figure over the seeds."""
    return {"mean": statistics.mean(values), "deviation": statistics.pstdev(values)}


class Students:
    """The runs below a folder, each with its row in a file, so that one that is finished costs nothing."""

    def __init__(
        self,
        config: ConfigDict,
        workdir: Path,
        stopper: Stopper,
        strategies: Mapping[str, Strategy],
        tests: Sequence[Test] = (),
        together: int = 1,
    ):
        self.config, self.workdir, self.stopper = config, workdir, stopper
        self.strategies, self.tests, self.together = strategies, tests, together
        self.teacher_row: Row = {}

    def teacher(self, counted: bool) -> None:
        """Trains the teacher of all students, unless the config names one; `counted`: its seconds are needed."""
        if path := self.config.teacher.path:
            seconds = phase_seconds(Path(path).parent / "metrics.jsonl") or None
            if counted and seconds is None:
                raise UserError(
                    f"config.teacher.path={path}: no run's log beside it says how long it took; "
                    "--equal=steps,time does without"
                )
            self.teacher_row = {"seconds": seconds, "path": path}
            return
        folder = self.workdir / "teacher"
        run_recipe(self.config, folder, self.stopper, ("teacher",))
        self.teacher_row = {
            **_figures(folder, "teacher"),
            "seconds": phase_seconds(folder / "teacher" / "metrics.jsonl"),
        }

    def folder(self, name: str, seed: int, steps: Steps) -> Path:
        """Where a student's run lies."""
        return self.workdir / f"{name}-{seed}-{steps[0]}-{steps[1]}"

    def students(self, name: str, seeds: Sequence[int], steps: Steps) -> list[Row]:
        """The rows of one student a seed; those that are not the first of `joined` count as taking as long as it."""
        first, *others = (self.student(name, seed, steps) for seed in seeds)
        return [first, *(row | {"seconds": first["seconds"]} if self.joined(name, seeds) else row for row in others)]

    def joined(self, name: str, seeds: Sequence[int]) -> bool:
        """Whether all but the first may learn side by side: not those without a teacher to share."""
        return self.together != 1 and len(seeds) > 1 and not self.strategies[name].teacherless

    def side_by_side(self, wanted: Mapping[str, Steps], seeds: Sequence[int]) -> None:
        """Trains the strategies' students up to `together` at a time where one walk of the teacher does for several.

        The first seed's are trained alone: what one takes. Then a strategy's seeds are transferred side by side, on the
        text of the first of them; and those that are distilled alike, whatever came before: of one seed, which is what
        each would learn alone, or else of one strategy.
        """
        joined = {name: steps for name, steps in wanted.items() if self.joined(name, seeds)}
        for name, steps in joined.items():
            self.student(name, seeds[0], steps)
        alike: dict[str, list[str]] = {}
        for name, steps in joined.items():
            if self.strategies[name].transfers:
                self._at_once("transfer", [(name, seed, steps) for seed in seeds[1:]])
            alike.setdefault(in_common(self._config(name, seeds[0], steps), "distill"), []).append(name)
        for names in alike.values():
            groups = [[(name, seed, joined[name]) for name in names] for seed in seeds[1:]]
            for group in groups if len(names) > 1 else [list(itertools.chain.from_iterable(groups))]:
                self._at_once("distill", group)

    def _at_once(self, phase: str, wanted: Sequence[tuple[str, int, Steps]]) -> None:
        """A phase of these students, into their folders, as many at a time as may be."""
        for student in wanted:
            self._take_transfer(self.folder(*student), *student)
        size = self.together or len(wanted)
        for start in range(0, len(wanted), size):
            group = list(wanted[start : start + size])
            missing = [student for student in group if not (self.folder(*student) / phase / "model").exists()]
            # Where some were there already, the others are a group; but not where all were cut off at their end.
            if missing and not self._common_folder(phase, group).exists():
                group = missing
            if missing and len(group) > 1:
                members = [Member(self._config(*student), self.folder(*student)) for student in group]
                run_side_by_side(members, self._common_folder(phase, group), self.stopper, (phase,))

    def _common_folder(self, phase: str, group: Sequence[tuple[str, int, Steps]]) -> Path:
        """Where a phase of several students has its checkpoints."""
        names = [self.folder(*student).name for student in group]
        digest = hashlib.sha256("+".join(names).encode()).hexdigest()[:8]
        return self.workdir / "side_by_side" / f"{phase}-of-{len(names)}-{names[0]}-{digest}"

    def student(self, name: str, seed: int, steps: Steps) -> Row:
        """Trains, fine-tunes and scores one student; its row."""
        folder = self.folder(name, seed, steps)
        config, path = self._config(name, seed, steps), folder / "row.json"
        sign = {"config": config.to_json(sort_keys=True), "tests": [test.sha256 for test in self.tests]}

        def made() -> Row:
            self._take_transfer(folder, name, seed, steps)
            row = {"strategy": name, "seed": seed, "steps": dict(zip(("transfer", "distill"), steps, strict=True))}
            return {"row": row | self._trained(folder, config)}

        return _kept(path, sign, made)["row"]

    def _config(self, name: str, seed: int, steps: Steps) -> ConfigDict:
        config = ConfigDict(self.config.to_dict())
        # How blocks that learn alone go about it is a strategy's own.
        config.transfer.update(LOCAL_OFF)
        config.update_from_flattened_dict(self.strategies[name].settings)
        config.transfer.optimizer.learning_rate *= self.strategies[name].rate
        config.seed, config.distill.steps = seed, steps[1]
        if steps[0]:
            config.transfer.steps = steps[0]
        if not config.teacher.path:
            teacher = self.workdir / "teacher"
            config.teacher.update({"path": str(teacher / "teacher" / "model"), "start": ""})
            config.data.update({"corpus": "", "store": str(teacher / "data")})
        return config

    def _trained(self, folder: Path, config: ConfigDict) -> Row:
        results = run_recipe(config, folder, self.stopper, ("transfer", "distill", "finetune"))
        phases = ("transfer", "distill")
        row: Row = {"seconds": {phase: phase_seconds(folder / phase / "metrics.jsonl") for phase in phases}}
        row |= _figures(folder, "distill")
        # As below: with the best threshold.
        row |= {name: results["student"][f"best_{name}"] for name in ("f1", "exact")} if results else {}
        return row | {test.name: _answers(folder, test, config) for test in self.tests}

    def _take_transfer(self, folder: Path, name: str, seed: int, steps: Steps) -> None:
        """Copies the finished transfer of a student whose config differs after it alone: it would be the same."""
        own = json.loads(self._config(name, seed, steps).to_json())
        for other in sorted(self.workdir.glob(f"{name}-{seed}-{steps[0]}-*")) if steps[0] else ():
            if (folder / "transfer").exists() or not (other / "transfer" / "model").exists():
                continue
            theirs = read_json(other / "config.json")["config"]
            if all(theirs[part] == own[part] for part in own if part not in AFTER_TRANSFER):
                with atomic_folder(folder / "transfer") as unfinished:
                    shutil.copytree(other / "transfer", unfinished, dirs_exist_ok=True)


def _answers(folder: Path, test: Test, config: ConfigDict) -> float:
    """F1 of a student's model, which its folder keeps; where questions lack answers, with the best threshold.

    Windows are those that it was fine-tuned on. Training questions all have answers, perhaps: then only the threshold
    can say when to be silent.
    """
    path = folder / "scores" / f"{test.name}.json"
    windows = {name: config.finetune[name] for name in ("sequence_length", "doc_stride")}
    sign = {"dataset": test.sha256, "model": weights_sha256(folder / "model"), **windows}
    scores = _kept(path, sign, lambda: evaluate_folder(folder / "model", test.path, test.task, **windows))
    return scores["f1" if test.task == "squad1" else "best_f1"]


def _kept(path: Path, sign: Row, make: Callable[[], Row]) -> Row:
    """What the file holds, made anew unless it is of the same `sign`."""
    kept = read_json(path) if path.is_file() else {}
    if kept.get("of") != sign:
        kept = {"of": sign, **make()}
        write_json(path, kept)
    return kept


def phase_seconds(metrics: Path) -> float:
    """Seconds that a phase's training steps take by its log; 0 without one. See `seconds_by_step`."""
    return max(seconds_by_step(read_metrics(metrics)).values(), default=0.0)


def seconds_by_step(lines: Sequence[Row]) -> dict[int, float]:
    """Step of each logged line -> seconds that the phase's training steps took until then.

    Steps count as the quickest logged line's of their stage in which as many blocks learnt, or more, so that other work
    on the machine is not anybody's cost.
    """
    lines = [line for line in lines if "heldout" not in line]
    steps = [line["step"] - before for line, before in zip(lines, [0, *(line["step"] for line in lines)], strict=False)]
    seconds, found = 0.0, {}
    for line, count in zip(lines, steps, strict=True):
        costs = (
            other["step_seconds"]["median"]
            for other in lines
            if other["stage"] == line["stage"] and _learning(other) >= _learning(line)
        )
        seconds += count * min(costs)
        found[line["step"]] = seconds
    return found


def _learning(line: Row) -> int:
    """How many blocks learnt in a logged line's steps; always the same number where blocks have no gradients alone."""
    norms = line.get("grad_norm")
    return sum(norm > 0 for norm in norms) if isinstance(norms, list) else 0


def _figures(workdir: Path, phase: str) -> Row:
    """Held-out masked LM at the phase's end."""
    lines = [line["heldout"] for line in read_metrics(workdir / phase / "metrics.jsonl") if "heldout" in line]
    return {name: lines[-1][name] for name in ("masked_lm", "masked_lm_accuracy")}
