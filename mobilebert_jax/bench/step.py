"""`bench step`: how fast the steps of a config's phases are on the devices that are here, and what the loop adds.

Of a step: the spread of its seconds, examples and tokens a second, and what share of the devices' bf16 peak its
products are (`Work.utilization`), where that peak is known. Several devices are used as the config's mesh says.

Beside the time of a step, with its batch already there: what the loop does after each step (reading its numbers,
counting, the progress bar), a logged line, the bookkeeping of an evaluation (not the evaluation itself, whose forward
passes are work), and a checkpoint. The host's own work is timed with the device at rest, although a run hides part of
it behind the next step; a checkpoint, which is written in the background, by what it adds to the steps meanwhile.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from mobilebert_jax.bench.stepping import seconds
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.parallel.chips import peak_flops
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.recipes.data import PreparedData, prepare
from mobilebert_jax.recipes.finetune import finetune_phase
from mobilebert_jax.recipes.layouts import check_layout, made_in_place, make_layout
from mobilebert_jax.recipes.phases import distill_phase, teacher_phase, transfer_phase
from mobilebert_jax.recipes.questions import load_question_sets
from mobilebert_jax.recipes.settings import PHASES, active_phases, check_config, model_config
from mobilebert_jax.recipes.student import Teacher
from mobilebert_jax.recipes.work import recipe_work
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.training.feed import Fed
from mobilebert_jax.training.loop import devices_of
from mobilebert_jax.training.pace import PERCENTILES, Pace, Work
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.program import control_at, make_step
from mobilebert_jax.training.progress import Progress
from mobilebert_jax.training.record import Record
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.placement import TEACHER, TRAINED
from mobilebert_jax.utils.types import Params

PARTS = ("step", "each", "log", "evaluate", "save")
MEASURED = 4
"""At most so many stages of a phase."""
WINDOW = 20
"""Steps that a checkpoint's background writing is given; it must be over by then."""


def bench_step(
    config: ConfigDict, repeats: int, show: Callable[[dict[str, Any]], None] = lambda row: None
) -> dict[str, Any]:
    """Seconds of each part in every phase that the config has, and their shares at the config's cadence.

    Weights are fresh, text and questions the config's own. Of a phase with many stages the first, where transfer's
    steps are shortest, some between and the last are measured; those between two count as what lies between them.
    `show` gets each row as soon as it is measured. `together` is the share in the steps of all phases.

    Raises:
        UserError: bad config or text, or a batch that the devices cannot share.
    """
    check_config(config)
    layout = make_layout(config)
    check_layout(config, layout, active_phases(config))
    rows, spent, added = [], 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for phase in _phases(config, Path(folder), layout):
            indices = np.unique(np.linspace(0, len(phase.plan.stages) - 1, MEASURED).round().astype(int)).tolist()
            own = []
            for index in indices:
                own.append(_measured(phase, index, Path(folder) / f"{phase.name}-{index}", repeats))
                show(own[-1])
            rows += own
            steps = np.array([stage.steps for stage in phase.plan.stages])
            every = np.interp(range(len(steps)), indices, [row["seconds"]["step"] for row in own]) * steps
            spent += every.sum()
            added += (every * np.interp(range(len(steps)), indices, [row["together"] for row in own])).sum()
    device, count = jax.devices()[0].device_kind, jax.device_count()
    return {"device": device, "devices": count, "repeats": repeats, "rows": rows, "together": float(added / spent)}


def _phases(config: ConfigDict, folder: Path, layout: Layout | None) -> Iterator[Phase]:
    """The config's phases on fresh networks, each with the work of its stages."""
    data = prepare(config, folder, Stopper())
    networks = {which: model_config(config, which, data.tokenizer.vocab_size) for which in ("teacher", "student")}
    work = recipe_work(config, PHASES, **networks)
    for phase in _unworked_phases(config, data, networks, layout):
        yield dataclasses.replace(phase, work=tuple(each for _, each in work[phase.name]))


def _unworked_phases(
    config: ConfigDict, data: PreparedData, networks: dict[str, ModelConfig], layout: Layout | None
) -> Iterator[Phase]:
    active = active_phases(config)

    def fresh(which: str, network: str) -> Params:
        model = build_model(networks[which], "pretraining")
        return made_in_place(layout, model, lambda: init_params(model, 0), network=network)

    if "teacher" in active:
        yield teacher_phase(config, data, layout)
    teacher = Teacher(networks["teacher"], fresh("teacher", TEACHER), {})
    if "transfer" in active:
        yield transfer_phase(config, data, teacher, layout)
    student = fresh("student", TRAINED)
    if "distill" in active:
        yield distill_phase(config, data, teacher, student, layout)
    if "finetune" in active:
        questions = load_question_sets(config.finetune, "squad2").train
        yield finetune_phase(config, networks["student"], student["encoder"], data.tokenizer, questions, layout)


@dataclasses.dataclass
class _Running:
    """One stage's compiled step, its state, and batches without end."""

    phase: Phase
    index: int

    def __post_init__(self):
        phase, stage, program = self.phase, self.phase.plan.stages[self.index], self.phase.programs[self.index]
        devices = devices_of(phase)
        self.asked, self.control = devices.asked(None), devices.control(control_at(phase.plan, self.index))
        trained, self.rest = program.cut(phase.init(), stage.top)
        # In the middle of the stage, where no rate is 0.
        self.step = phase.plan.start(self.index) + stage.steps // 2
        self.state = devices.state(program, trained, phase.optimizer, self.step, 0)
        settings = phase.optimizer, phase.learning_rate, phase.accumulation, phase.seed, phase.nonfinite_skips
        self.call = make_step(program, *settings, *devices.step_settings(self.state))
        self.batches = itertools.cycle(list(itertools.islice(phase.batches(0, WINDOW), WINDOW)))
        self.run()  # compiles

    def whole(self) -> Params:
        """The parameters as the loop saves them."""
        block = self.phase.plan.stages[self.index].top
        return self.phase.programs[self.index].join(self.state.trained, self.rest, block)

    def run(self, steps: int = 1, pace: Pace | None = None) -> tuple[float, dict[str, Any], Fed]:
        """(seconds of so many steps, the last one's metrics and what it was fed); `pace` counts them.

        As in the loop, a step is waited for when the next one has been handed to the device.
        """
        before, began = None, time.perf_counter()
        for _ in range(steps):
            fed = next(self.batches)
            arguments = self.state, self.rest, self.phase.teacher, fed.batch, self.control, *self.asked
            self.state, metrics = self.call(*arguments)
            jax.block_until_ready(before)
            before = metrics
            if pace:
                pace.add(fed.examples, fed.tokens, 0.0)
        jax.block_until_ready(self.state)
        return time.perf_counter() - began, metrics, fed


def _measured(phase: Phase, index: int, folder: Path, repeats: int) -> dict[str, Any]:
    """One row: how fast the step is; median seconds of every part, how often it comes, its share of a step's time."""
    running, pace = _Running(phase, index), Pace()
    seconds: dict[str, list[float]] = {name: [] for name in PARTS}
    record = Record(folder, phase.name, 0)
    checkpoints = Checkpoints(folder / "checkpoints", phase.cadence.keep)
    # Nobody reads these lines; that they are made is measured.
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(nowhere),
        Progress(phase.name, phase.plan.steps, 0) as progress,
    ):
        host = _HostWork(phase, index, record, checkpoints, progress)
        for number in range(repeats + 1):
            pace = Pace() if number < 2 else pace  # the first round is practice
            plain = running.run(WINDOW, pace)[0]
            with pace.paused():
                began = time.perf_counter()
                checkpoints.save(number + 1, running.whole(), running.state.opt_state, {})
                running.run(WINDOW)
                checkpoints.wait()
                seconds["save"].append(max(time.perf_counter() - began - plain, 0.0))
                seconds["step"].append(plain / WINDOW)
                for name, value in host.timed(running, number + 1).items():
                    seconds[name].append(value)
    peak = peak_flops(jax.devices()[0].device_kind)
    work = Work(tuple((1, each) for each in phase.work), counted=True)
    rates = pace.take(functools.partial(work.utilization, index, peak and peak * jax.device_count()))
    flops = 2 * phase.work[index] / pace.seconds_per_step
    checkpoints.close()
    record.close()
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    return cost_row(phase, index, medians) | rates | {"flops_per_second": flops}


@dataclasses.dataclass
class _HostWork:
    """What the loop does on the host, through what it does it with."""

    phase: Phase
    index: int
    record: Record
    checkpoints: Checkpoints
    progress: Progress

    def timed(self, running: _Running, step: int) -> dict[str, float]:
        """Seconds of the work after a step, of a logged line, and of an evaluation's bookkeeping."""
        _, metrics, fed = running.run()
        stage = self.phase.plan.stages[self.index]
        work = Work(tuple((each.steps, 1.0) for each in self.phase.plan.stages))
        figures = {name: float(value.mean()) for name, value in metrics.items()}

        def each() -> None:
            bool(metrics["finite"])
            self.checkpoints.check()
            self.progress.advance()
            self.record.add(metrics, fed, 0.0)

        def log() -> None:
            means = self.record.log(step, stage.name)
            left = work.left(self.index, 1, self.record.pace.seconds_per_step)
            self.progress.show(step, stage.name, means, self.record.pace, left)

        def evaluate() -> None:
            self.record.is_evaluated(step)
            self.record.log_heldout(step, figures)

        return {work.__name__: seconds(work) for work in (each, log, evaluate)}


def cost_row(phase: Phase, index: int, seconds: dict[str, float]) -> dict[str, Any]:
    """What a stage pays for each part at the phase's cadence, given the seconds that each takes."""
    stage, cadence = phase.plan.stages[index], phase.cadence
    often = {"each": stage.steps, "log": _times(phase, index, cadence.log)}
    often["evaluate"] = _times(phase, index, cadence.evaluate) if phase.evaluate else 0
    often["save"] = _times(phase, index, cadence.save)
    shares = {name: often[name] / stage.steps * seconds[name] / seconds["step"] for name in often}
    return {
        "phase": phase.name,
        "stage": stage.name,
        "steps": stage.steps,
        "seconds": seconds,
        "times": often,
        "shares": shares,
        "together": sum(shares.values()),
    }


def _times(phase: Phase, index: int, every: int) -> int:
    """How often something comes in a stage that comes every so many steps and at the stage's end."""
    first, last = phase.plan.start(index) + 1, phase.plan.start(index + 1)
    return sum(step == last or (every > 0 and step % every == 0) for step in range(first, last + 1))


def print_head(repeats: int) -> None:
    """What the rows below hold."""
    print(f"{jax.devices()[0].device_kind}, medians of {repeats}; milliseconds each time, share of the step's time")
    print(f"{'phase':<24}{'step':>9}" + "".join(f"{name:>18}" for name in PARTS[1:]) + f"{'together':>10}", flush=True)


def print_row(row: dict[str, Any]) -> None:
    """One stage's row."""
    seconds, shares = row["seconds"], row["shares"]
    parts = "".join(f"{1000 * seconds[part]:10.2f} {shares[part]:7.2%}" for part in PARTS[1:])
    tqdm.write(f"{_name(row):<24}{1000 * seconds['step']:9.1f}{parts}{row['together']:10.2%}")


def print_together(report: dict[str, Any]) -> None:
    """What stands below the rows: their sum, and how fast the steps are."""
    print(f"together, of the steps of all phases: {report['together']:.2%}\n")
    devices = f", {report['devices']} devices" if report["devices"] > 1 else ""
    print(f"{report['device']}{devices}; a step in milliseconds, and what it does in a second")
    print(f"{'phase':<24}{'median':>9}{'p95':>9}{'max':>9}{'examples':>12}{'tokens':>12}{'TFLOP':>10}{'MFU':>8}")
    for row in report["rows"]:
        spread = "".join(f"{1000 * row['step_seconds'][name]:9.1f}" for name in PERCENTILES)
        rates = f"{row['examples_per_second']:12,.1f}{row['tokens_per_second']:12,.0f}"
        mfu = f"{row['mfu']:8.1%}" if "mfu" in row else f"{'':>8}"
        print(f"{_name(row):<24}{spread}{rates}{row['flops_per_second'] / 1e12:10.4g}{mfu}")


def _name(row: dict[str, Any]) -> str:
    return row["phase"] if row["stage"] == row["phase"] else f"{row['phase']}: {row['stage']}"
