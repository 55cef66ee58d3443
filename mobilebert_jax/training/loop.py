"""The one loop of every phase: resume, stages, steps, checkpoints, logs, held-out evaluation."""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.optim.optimizer import OptimizerConfig, make_optimizer
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.training.diagnosis import explain
from mobilebert_jax.training.metrics import Means, MetricsFile, read_metrics
from mobilebert_jax.training.program import LearningRate, Program, TrainState, control_at, init_state, make_step
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import NonFiniteError, Stopped
from mobilebert_jax.utils.types import Batch, Params


@dataclasses.dataclass(frozen=True)
class Cadence:
    """Every how many steps something happens (0: only at the end), and how many checkpoints stay."""

    log: int
    evaluate: int
    save: int
    keep: int = 2


@dataclasses.dataclass(frozen=True)
class Phase:
    """Everything the loop needs to know of a phase.

    Attributes:
        programs: one for each stage of the plan; stages that share a program share its compiled step.
        batches: step, last step -> batches from that step on; a batch is a function of its step.
        init: makes the parameters of step 0.
        teacher: read-only parameters, {} without a teacher. Never donated, never saved.
        networks: name -> (config, parameters or None for what is being trained), for the diagnosis.
        evaluate: whole parameters -> held-out figures.
        meta: what else a checkpoint records, such as the teacher's path and fingerprint.
    """

    name: str
    plan: Plan
    programs: tuple[Program, ...]
    optimizer: OptimizerConfig
    learning_rate: LearningRate
    cadence: Cadence
    batches: Callable[[int, int], Iterator[Batch]]
    init: Callable[[], Params]
    networks: dict[str, tuple[ModelConfig, Params | None]]
    teacher: Params = dataclasses.field(default_factory=dict)
    evaluate: Callable[[Params], dict[str, Any]] | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    accumulation: int = 1
    seed: int = 0


def run_phase(phase: Phase, folder: str | Path, stopper: Stopper) -> Params:
    """Trains the phase from where its folder says it stopped; returns the final whole parameters.

    Raises:
        Stopped: the stopper asked for it; the state is saved.
        NonFiniteError: a step left the finite numbers; the checkpoints before it are kept.
    """
    checkpoints = Checkpoints(Path(folder) / "checkpoints", phase.cadence.keep)
    try:
        return _PhaseRun(phase, Path(folder), checkpoints, stopper).run()
    finally:
        checkpoints.close()


class _PhaseRun:
    """One process' work on a phase: the mutable part of `run_phase`."""

    def __init__(self, phase: Phase, folder: Path, checkpoints: Checkpoints, stopper: Stopper):
        self.phase, self.checkpoints, self.stopper = phase, checkpoints, stopper
        self.steps = {}  # program -> compiled step
        self.params, self.opt_state, self.step = self._resume()
        self.metrics = MetricsFile(folder / "metrics.jsonl", self.step)
        self.means = Means()
        # A restart goes on counting from the line that the restored step has left.
        logged = [line["seconds"] for line in read_metrics(self.metrics.path) if "seconds" in line]
        self.began = time.perf_counter() - (logged[-1] if logged else 0.0)

    def _resume(self) -> tuple[Params, Any, int]:
        """(whole parameters, slots or None, step): from the newest checkpoint, or fresh."""
        found = self.checkpoints.latest()
        if found is None:
            return self.phase.init(), None, 0
        step, meta = found
        params = jax.eval_shape(self.phase.init)
        trained = jax.eval_shape(lambda tree: self.phase.programs[meta["stage"]].cut(tree, 0)[0], params)
        slots = jax.eval_shape(make_optimizer(self.phase.optimizer).init, trained)
        return (*self.checkpoints.restore(step, params, slots), step)

    def run(self) -> Params:
        """All stages that are left."""
        plan = self.phase.plan
        if self._unevaluated():
            self._evaluate(self.step)
        batches = self.phase.batches(self.step, plan.steps)
        with self._bar() as bar:
            while self.step < plan.steps:
                self._run_stage(plan.index_at(self.step), batches, bar)
        self.checkpoints.wait()
        return self.params

    def _unevaluated(self) -> bool:
        """Whether figures are due where this run begins: at step 0, or where a stop came before they were made."""
        starts = {self.phase.plan.start(index) for index in range(len(self.phase.plan.stages) + 1)}
        every = self.phase.cadence.evaluate
        due = self.step in starts or (every > 0 and self.step % every == 0)
        lines = read_metrics(self.metrics.path) if due else []
        return due and not any(line["step"] == self.step and "heldout" in line for line in lines)

    def _bar(self) -> tqdm:
        """Rate and time left on a terminal; nothing where there is none (plain lines are printed instead)."""
        phase = self.phase
        return tqdm(total=phase.plan.steps, initial=self.step, desc=phase.name, unit="step", disable=None, leave=True)

    def _run_stage(self, index: int, batches: Iterator[Batch], bar: tqdm) -> None:
        phase, program = self.phase, self.phase.programs[index]
        stage, end = phase.plan.stages[index], phase.plan.start(index + 1)
        bar.set_description(f"{phase.name}: {stage.name}")
        control = control_at(phase.plan, index)
        trained, rest = program.cut(self.params, int(control.block))
        state = self._state(trained, self.step == phase.plan.start(index))
        step = self._compiled(program)
        pending, started = None, time.perf_counter()
        while self.step < end:
            waited = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - waited
            state, metrics = step(state, rest, phase.teacher, batch, control)
            # The metrics of the step before are read only now, so that the device never waits for the host.
            self._check(pending, program, state, rest, control)
            pending = (self.step, batch, metrics)
            self.step += 1
            bar.update()
            self.means.add({**metrics, "data_wait": waited})
            if self._due(phase.cadence.log, end):
                self._check(pending, program, state, rest, control)
                started = self._log(stage.name, len(batch["input_ids"]), started, bar)
            if self._due(phase.cadence.save, end) or self._due(phase.cadence.evaluate, end) or self.stopper.reason:
                self._check(pending, program, state, rest, control)
                paused = time.perf_counter()
                self._settle(program, state, rest, index, end)
                started += time.perf_counter() - paused
        self.params, self.opt_state = program.join(state.trained, rest, int(control.block)), None

    def _state(self, trained: Params, at_start: bool) -> TrainState:
        """The state a stage goes on with: restored slots, or new ones at its start."""
        # A copy, because the step donates it while the whole parameters are still held.
        state = init_state(jax.tree.map(lambda leaf: leaf.copy(), trained), self.phase.optimizer, self.step)
        if self.opt_state is not None and not at_start:
            state = state.replace(opt_state=self.opt_state)
        self.opt_state = None
        return state

    def _compiled(self, program: Program):
        """The program's step, made once, so that all its stages run the same executable."""
        if program not in self.steps:
            phase = self.phase
            self.steps[program] = make_step(
                program, phase.optimizer, phase.learning_rate, phase.accumulation, phase.seed
            )
        return self.steps[program]

    def _due(self, every: int, end: int) -> bool:
        """At every so many steps, and at the end of each stage."""
        return self.step == end or (every > 0 and self.step % every == 0)

    def _settle(self, program: Program, state: TrainState, rest: Params, index: int, end: int) -> None:
        """Saves, evaluates and stops, whichever is due after this step."""
        cadence, reason = self.phase.cadence, self.stopper.reason
        params = program.join(state.trained, rest, self.phase.plan.stages[index].top)
        if self._due(cadence.save, end) or reason:
            meta = {**self.phase.meta, "phase": self.phase.name, "stage": index, "step": self.step}
            self.checkpoints.save(self.step, params, state.opt_state, meta)
        if reason:
            self.checkpoints.wait()
            raise Stopped(f"{reason}; {self.phase.name} is saved at step {self.step} of {self.phase.plan.steps}")
        if self._due(cadence.evaluate, end):
            self._evaluate(self.step, params)

    def _evaluate(self, step: int, params: Params | None = None) -> None:
        if self.phase.evaluate is None:
            return
        figures = self.phase.evaluate(self.params if params is None else params)
        self.metrics.write({"step": step, "phase": self.phase.name, "heldout": figures})
        _say(f"{self.phase.name} step {step} held out: {_brief(figures)}")

    def _log(self, stage: str, batch_size: int, started: float, bar: tqdm) -> float:
        """Writes the means since the last line; returns the time the next line counts from."""
        steps, now = self.means.steps, time.perf_counter()
        means = self.means.take()
        rate = batch_size * steps / (now - started)
        timing = {"examples_per_second": rate, "seconds": round(now - self.began, 3)}
        line = {"step": self.step, "phase": self.phase.name, "stage": stage, **means, **timing}
        self.metrics.write({name: value for name, value in line.items() if name != "healthy"})
        terms = {name: means[name] for name in means if name not in ("data_wait", "healthy", "learning_rate")}
        bar.set_postfix_str(_brief(terms), refresh=False)
        if bar.disable:
            _say(f"{self.phase.name} step {self.step}/{self.phase.plan.steps} {stage}: {_brief(terms)} {rate:.0f} ex/s")
        return now

    def _check(self, pending, program: Program, state: TrainState, rest: Params, control) -> None:
        """Stops on the first step that was not finite. Nothing has changed since, so it can be looked into."""
        if pending is None or bool(pending[2]["healthy"]):
            return
        step, batch, metrics = pending
        phase = self.phase
        params = program.join(state.trained, rest, int(control.block))
        networks = {name: (cfg, params if own is None else own) for name, (cfg, own) in phase.networks.items()}
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(phase.seed), step), 0)

        def gradients():
            counts = program.counts(batch)
            return program.gradients(state.trained, rest, phase.teacher, batch, counts, control, key)[0]

        place = explain(networks, batch, jax.device_get(metrics), jax.jit(gradients))
        newest = self.checkpoints.latest()
        kept = f"the checkpoint of step {newest[0]} is kept" if newest else "no checkpoint was written yet"
        stage = phase.plan.stages[phase.plan.index_at(step)].name
        raise NonFiniteError(f"{phase.name} step {step} (stage {stage}): {place}; {kept}")


def _say(text: str) -> None:
    """One plain line on stderr, above a progress bar if there is one."""
    tqdm.write(text, file=sys.stderr)


def _brief(values: dict[str, Any]) -> str:
    """Numbers in four digits; a list as its mean."""
    parts = []
    for name, value in values.items():
        array = np.asarray(value, np.float64)
        parts.append(f"{name} {array.mean() if array.ndim else float(array):.4g}")
    return ", ".join(parts)
