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
from mobilebert_jax.training.diagnosis import explain, nonfinite_terms
from mobilebert_jax.training.events import EventFile
from mobilebert_jax.training.metrics import Means, MetricsFile, read_metrics
from mobilebert_jax.training.pace import Pace
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
        evaluate: whole parameters, "is a stop asked for?" -> held-out figures, or None when it gave way to a stop.
        meta: what else a checkpoint records, such as the teacher's path and fingerprint.
        nonfinite_skips: so many steps may have a loss or gradients that are not finite; they change no parameters.
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
    evaluate: Callable[[Params, Callable[[], Any]], dict[str, Any] | None] | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    accumulation: int = 1
    seed: int = 0
    nonfinite_skips: int = 0


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
        self.params, self.opt_state, self.step, self.skipped = self._resume()
        self.metrics = MetricsFile(folder / "metrics.jsonl", self.step)
        self.events = EventFile(self.metrics.path)
        self.means = Means()
        # A restart goes on counting from the line that the restored step has left.
        logged = [line["seconds"] for line in read_metrics(self.metrics.path) if "seconds" in line]
        self.began = time.perf_counter() - (logged[-1] if logged else 0.0)

    def _resume(self) -> tuple[Params, Any, int, int]:
        """(whole parameters, slots or None, step, skipped steps): from the newest checkpoint, or fresh."""
        found = self.checkpoints.restore_newest(self._shapes, _say)
        if found is None:
            return self.phase.init(), None, 0, 0
        step, meta, params, opt_state = found
        return params, opt_state, step, meta.get("skipped", 0)

    def _shapes(self, meta: dict[str, Any]) -> tuple[Params, Any]:
        """The shapes of a checkpoint's parameters and slots, which depend on its stage."""
        params = jax.eval_shape(self.phase.init)
        trained = jax.eval_shape(lambda tree: self.phase.programs[meta["stage"]].cut(tree, 0)[0], params)
        return params, jax.eval_shape(make_optimizer(self.phase.optimizer).init, trained)

    def run(self) -> Params:
        """All stages that are left."""
        plan = self.phase.plan
        if self._unevaluated():
            self._evaluate(self.step)
            if self.stopper.reason:
                raise self._stopped()
        batches = self.phase.batches(self.step, plan.steps)
        with self._bar() as bar:
            while self.step < plan.steps:
                self._run_stage(plan.index_at(self.step), batches, bar)
        self.checkpoints.wait()
        self.events.close()
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
        pending, self.pace = None, Pace()
        while self.step < end:
            waited = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - waited
            state, metrics = step(state, rest, phase.teacher, batch, control)
            # The metrics of the step before are read only now, so that the device never waits for the host.
            self._check(pending, program, state, rest, control)
            pending = (self.step, batch, metrics)
            self.step += 1
            self.checkpoints.check()
            bar.update()
            logged = {name: value for name, value in metrics.items() if name not in ("healthy", "skipped")}
            self.means.add({**logged, "data_wait": waited})
            self.pace.add(batch, waited)
            if self._due(phase.cadence.log, end):
                self._check(pending, program, state, rest, control)
                self._log(stage.name, end, bar)
            if self._due(phase.cadence.save, end) or self._due(phase.cadence.evaluate, end) or self.stopper.reason:
                self._check(pending, program, state, rest, control)
                with self.pace.paused():
                    self._settle(program, state, rest, index, end)
        self.params, self.opt_state = program.join(state.trained, rest, int(control.block)), None

    def _state(self, trained: Params, at_start: bool) -> TrainState:
        """The state a stage goes on with: restored slots, or new ones at its start."""
        # A copy, because the step donates it while the whole parameters are still held.
        trained = jax.tree.map(lambda leaf: leaf.copy(), trained)
        state = init_state(trained, self.phase.optimizer, self.step, self.skipped)
        if self.opt_state is not None and not at_start:
            state = state.replace(opt_state=self.opt_state)
        self.opt_state = None
        return state

    def _compiled(self, program: Program):
        """The program's step, made once, so that all its stages run the same executable."""
        if program not in self.steps:
            phase = self.phase
            self.steps[program] = make_step(
                program, phase.optimizer, phase.learning_rate, phase.accumulation, phase.seed, phase.nonfinite_skips
            )
        return self.steps[program]

    def _due(self, every: int, end: int) -> bool:
        """At every so many steps, and at the end of each stage."""
        return self.step == end or (every > 0 and self.step % every == 0)

    def _settle(self, program: Program, state: TrainState, rest: Params, index: int, end: int) -> None:
        """Saves, evaluates and stops, whichever is due after this step."""
        cadence = self.phase.cadence
        params = program.join(state.trained, rest, self.phase.plan.stages[index].top)
        meta = {**self.phase.meta, "phase": self.phase.name, "stage": index, "step": self.step}
        meta |= {"skipped": self.skipped} if self.phase.nonfinite_skips else {}
        if self._due(cadence.save, end):
            self.checkpoints.save(self.step, params, state.opt_state, meta)
        if self._due(cadence.evaluate, end) and not self.stopper.reason:
            self._evaluate(self.step, params)
        if self.stopper.reason:  # perhaps only since the evaluation began
            self.checkpoints.save(self.step, params, state.opt_state, meta)
            self.checkpoints.wait()
            raise self._stopped()

    def _stopped(self) -> Stopped:
        return Stopped(
            f"{self.stopper.reason}; {self.phase.name} is saved at step {self.step} of {self.phase.plan.steps}"
        )

    def _evaluate(self, step: int, params: Params | None = None) -> None:
        if self.phase.evaluate is None:
            return
        params = self.params if params is None else params
        figures = self.phase.evaluate(params, lambda: self.stopper.reason)
        if figures is None:  # a stop came first; they are made when the run goes on
            return
        self._write({"step": step, "phase": self.phase.name, "heldout": figures})
        _say(f"{self.phase.name} step {step} held out: {_brief(figures)}")

    def _log(self, stage: str, end: int, bar: tqdm) -> None:
        """Writes the means since the last line, and shows them with the pace and the time left."""
        phase, step, pace = self.phase, self.step, self.pace
        means, rates = self.means.take(), pace.take()
        seconds = round(time.perf_counter() - self.began, 3)
        line = {"step": step, "phase": phase.name, "stage": stage, **means, **rates, "seconds": seconds}
        line |= {"skipped": self.skipped} if phase.nonfinite_skips else {}
        self._write(line)
        terms = _brief({name: means[name] for name in means if name not in ("data_wait", "learning_rate")})
        speed = f"{rates['tokens_per_second']:.0f} tok/s, data wait {pace.waiting:.0%}"
        left = f"stage {pace.left(end - step)} left"
        bar.set_postfix_str(f"{terms}, {speed}, {left}", refresh=False)
        if bar.disable:
            examples = f"{rates['examples_per_second']:.0f} ex/s"
            left = f"{left}, phase {pace.left(phase.plan.steps - step)}"
            _say(f"{phase.name} step {step}/{phase.plan.steps} {stage}: {terms}; {examples}, {speed}; {left}")

    def _write(self, line: dict[str, Any]) -> None:
        """One line of metrics.jsonl, and the same for TensorBoard."""
        self.metrics.write(line)
        self.events.write(line)

    def _check(self, pending, program: Program, state: TrainState, rest: Params, control) -> None:
        """Stops on the first step too many that was not finite. Nothing changed since, so it can be looked into."""
        if pending is None or bool(pending[2]["finite"]):
            return
        step, batch, metrics = pending
        phase = self.phase
        counts = jax.device_get(program.counts(batch))
        terms = {name: value for name, value in jax.device_get(metrics).items() if name in counts}
        if bool(metrics["healthy"]):
            self._tell_skipped(step, int(metrics["skipped"]), terms)
            return
        params = program.join(state.trained, rest, int(control.block))
        networks = {name: (cfg, params if own is None else own) for name, (cfg, own) in phase.networks.items()}
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(phase.seed), step), 0)

        def gradients():
            counts = program.counts(batch)
            return program.gradients(state.trained, rest, phase.teacher, batch, counts, control, key)[0]

        place = explain(networks, batch, terms, jax.jit(gradients), counts)
        newest = self.checkpoints.latest_step()
        kept = "no checkpoint was written yet" if newest is None else f"the checkpoint of step {newest} is kept"
        stage = phase.plan.stages[phase.plan.index_at(step)].name
        earlier = f" after {self.skipped} skipped" if self.skipped else ""
        raise NonFiniteError(f"{phase.name} step {step} (stage {stage}){earlier}: {place}; {kept}")

    def _tell_skipped(self, step: int, skipped: int, terms: dict[str, Any]) -> None:
        """One line a skipped step; a step is looked at more than once."""
        if skipped == self.skipped:
            return
        self.skipped = skipped
        what = ", ".join(nonfinite_terms(terms)) or "gradient norm"
        allowed = self.phase.nonfinite_skips
        _say(f"{self.phase.name} step {step}: {what} not finite; skipped, {skipped} of at most {allowed}")


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
