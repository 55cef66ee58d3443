"""The one loop of every phase: resume, stages, steps, checkpoints, logs, held-out evaluation."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mobilebert_jax.parallel import processes
from mobilebert_jax.parallel.chips import peak_flops
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.training.devices import OneDevice, OnMesh
from mobilebert_jax.training.diagnosis import explain, nonfinite_terms
from mobilebert_jax.training.feed import Fed
from mobilebert_jax.training.pace import Pace, Work
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.placing import placed_params
from mobilebert_jax.training.program import Program, TrainState, at_step, control_at, make_step
from mobilebert_jax.training.progress import Progress, brief, say
from mobilebert_jax.training.record import Record
from mobilebert_jax.training.side_by_side import SideBySide
from mobilebert_jax.training.stopping import Stopper, interruptible
from mobilebert_jax.training.time_spent import TimeSpent
from mobilebert_jax.training.together import agreed_reason, interruptible_together
from mobilebert_jax.training.trace import Trace, Traced
from mobilebert_jax.utils.errors import NonFiniteError, Stopped
from mobilebert_jax.utils.types import Params


def run_phase(
    phase: Phase,
    folder: str | Path,
    stopper: Stopper,
    spent: TimeSpent | None = None,
    traced: Traced | None = None,
    checkpoints: str | Path = "",
    before_save: Callable[[], None] | None = None,
) -> Params:
    """Trains the phase from where its folder says it stopped; returns the final whole parameters.

    `spent` counts what the time goes to; the `traced` steps are recorded by the profiler. `checkpoints` is where they
    lie, by default in the folder; `before_save` is called before each is written.

    Raises:
        Stopped: the stopper asked for it; the state is saved.
        NonFiniteError: a step left the finite numbers; the checkpoints before it are kept.
    """
    place = checkpoints or Path(folder) / "checkpoints"
    with contextlib.closing(Checkpoints(place, phase.cadence.keep, before_save)) as opened:
        run = _PhaseRun(phase, Path(folder), opened, stopper, spent or TimeSpent(), traced)
        with contextlib.closing(run.record), contextlib.closing(run.trace):
            try:
                return run.run()
            finally:
                run.spent.write(phase.name, run.step)


def devices_of(phase: Phase) -> OneDevice:
    """Where the phase's arrays lie."""
    if phase.students:
        return SideBySide(phase.students)
    if phase.layout is None:
        return OneDevice()
    params = placed_params(phase.layout, phase.axes, jax.eval_shape(phase.init))
    return OnMesh(phase.layout, params)


class _PhaseRun:
    """One process' work on a phase: the mutable part of `run_phase`."""

    def __init__(
        self,
        phase: Phase,
        folder: Path,
        checkpoints: Checkpoints,
        stopper: Stopper,
        spent: TimeSpent,
        traced: Traced | None,
    ):
        self.phase, self.checkpoints, self.stopper, self.spent = phase, checkpoints, stopper, spent
        self.steps = {}  # program -> step
        self.compiled: set[tuple[Program, tuple[int, ...]]] = set()  # with the shapes of its batches so far
        self.ended = False  # early, because of the held-out figures
        self.devices = devices_of(phase)
        self.asked: str | None = None  # the reason to stop that all processes know of
        self.step = self.skipped = 0
        self.params, self.opt_state, meta = self._resume()
        self.step, self.skipped = meta.get("step", 0), meta.get("skipped", 0)
        self.record = Record(folder, phase.name, self.step, meta.get("unlogged"))
        self.trace = Trace(traced, phase.name, folder, self.step)
        self.spent.resume(phase.name, self.step)
        stages = phase.plan.stages
        work = phase.work or (1.0,) * len(stages)
        amounts = tuple((stage.steps, each) for stage, each in zip(stages, work, strict=True))
        self.work = Work(amounts, phase.later, counted=bool(phase.work))
        peak = peak_flops(jax.devices()[0].device_kind)
        self.peak = peak and peak * jax.device_count()

    def _resume(self) -> tuple[Params, Any, dict[str, Any]]:
        """(whole parameters, slots or None, what else was recorded): from the newest checkpoint, or fresh."""
        found = self.checkpoints.restore_newest(self._shapes, say)
        if found is None:
            self._stop_if_agreed()
            return interruptible_together(self.phase.init, self.stopper, self._where()), None, {}
        _, meta, params, opt_state = found
        return params, opt_state, meta

    def _shapes(self, meta: dict[str, Any]) -> tuple[Params, Any]:
        """The shapes of a checkpoint's parameters and slots, which depend on its stage."""
        # At a stage's end the slots are still that stage's.
        program = self.phase.programs[self.phase.plan.index_at(meta["step"] - 1)]
        return self.devices.target(jax.eval_shape(self.phase.init), program, self.phase.optimizer)

    def run(self) -> Params:
        """All stages that are left."""
        plan = self.phase.plan
        if self._unevaluated():
            self._evaluate(self.step)
            self._stop_if_agreed()
        elif self.phase.selection:
            self.ended = self.phase.selection.ended()
        batches = self.phase.batches(self.step, plan.steps)
        with Progress(self.phase.name, plan.steps, self.step) as progress:
            while self.step < plan.steps and not self.ended:
                with self.spent.spending("step"):
                    self._run_stage(plan.index_at(self.step), batches, progress)
        with self.spent.spending("checkpoint"):
            self.checkpoints.wait()
        return self.params

    def _unevaluated(self) -> bool:
        """Whether figures are due where this run begins: at step 0, or where a stop came before they were made."""
        starts = {self.phase.plan.start(index) for index in range(len(self.phase.plan.stages) + 1)}
        every = self.phase.cadence.evaluate
        due = self.step in starts or (every > 0 and self.step % every == 0)
        return processes.first_says(due and not self.record.is_evaluated(self.step))

    def _run_stage(self, index: int, batches: Iterator[Fed], progress: Progress) -> None:
        phase, program = self.phase, self.phase.programs[index]
        stage, end = phase.plan.stages[index], phase.plan.start(index + 1)
        progress.stage(stage.name)
        control = self.devices.control(control_at(phase.plan, index))
        trained, rest = self.devices.cut(program, self.params, stage.top)
        state = self._state(program, trained, self.step == phase.plan.start(index))
        pending, self.record.pace = None, Pace()
        while self.step < end and not self.ended:
            waited = time.perf_counter()
            with self.spent.spending("data"):
                fed = next(batches)
            waited = time.perf_counter() - waited
            asked = self.devices.asked(self.stopper.reason)
            with self.trace.step(self.step + 1):
                state, metrics = self._step(program, state, rest, phase.teacher, fed.batch, control, *asked)
            # The metrics of the step before are read only now, so that the device never waits for the host.
            self._check(pending, program, state, rest, control)
            pending = (self.step, fed.batch, metrics)
            self.step += 1
            self.trace.made(self.step, metrics)
            self.checkpoints.check()
            progress.advance()
            self.record.add(metrics, fed, waited)
            if self._due(phase.cadence.log, end):
                self._check(pending, program, state, rest, control)
                self._log(index, end, progress)
            if self._due(phase.cadence.save, end) or self._due(phase.cadence.evaluate, end) or self._asked():
                self._check(pending, program, state, rest, control)
                with self.record.pace.paused():
                    self._settle(program, state, rest, index, end)
        self.params, self.opt_state = self.devices.whole(self.devices.join(program, state, rest, stage.top)), None

    def _state(self, program: Program, trained: Params, at_start: bool) -> TrainState:
        """The state a stage goes on with: restored slots, or new ones at its start."""
        state = self.devices.state(program, trained, self.phase.optimizer, self.step, self.skipped)
        if self.opt_state is not None and not at_start:
            state = state.replace(opt_state=self.opt_state)
        self.opt_state = None
        return state

    def _step(self, program: Program, state: TrainState, *arguments: Any) -> tuple[TrainState, dict[str, Any]]:
        """One step; a program's is made once, so that all its stages run the same executable for batches of a shape."""
        kind = program, arguments[2]["input_ids"].shape
        if kind in self.compiled:
            return self.steps[program](state, *arguments)
        self.compiled.add(kind)
        with self.record.pace.paused(), self.spent.spending("compile"):
            if program in self.steps:  # another length: what it starts from is not saved, so a stop waits for it
                return self.steps[program](state, *arguments)
            phase = self.phase
            settings = phase.optimizer, phase.learning_rate, phase.accumulation, phase.seed, phase.nonfinite_skips
            step = self.steps[program] = make_step(program, *settings, *self.devices.step_settings(state))
            # The first call compiles; what it starts from is saved already.
            return interruptible_together(lambda: step(state, *arguments), self.stopper, self._where())

    def _asked(self) -> bool:
        """Whether to stop after this step: known from the step before where several processes must agree."""
        if self.asked is None and not self.phase.layout:
            self.asked = self.stopper.reason
        return self.asked is not None

    def _stop_if_agreed(self) -> None:
        if reason := self.asked or agreed_reason(self.stopper):
            raise Stopped(f"{reason}; {self._where()}")

    def _due(self, every: int, end: int) -> bool:
        """At every so many steps, and at the end of each stage."""
        return self.step == end or (every > 0 and self.step % every == 0)

    def _settle(self, program: Program, state: TrainState, rest: Params, index: int, end: int) -> None:
        """Saves, evaluates and stops, whichever is due after this step."""
        cadence = self.phase.cadence
        stage = self.phase.plan.stages[index]
        params = self.devices.join(program, state, rest, stage.top)
        meta = {**self.phase.meta, "phase": self.phase.name, "stage": stage.name, "step": self.step}
        meta |= {"skipped": self.skipped} if self.phase.nonfinite_skips else {}
        meta |= {"unlogged": unlogged} if (unlogged := self.record.unlogged()) else {}
        if self._due(cadence.save, end):
            with self.spent.spending("checkpoint"):
                self.checkpoints.save(self.step, params, state.opt_state, meta)
            self.spent.write(self.phase.name, self.step)
        if self._due(cadence.evaluate, end) and not (self.asked or agreed_reason(self.stopper)):
            self._evaluate(self.step, params)
        self.asked = self.asked or agreed_reason(self.stopper)  # perhaps only since the evaluation began
        if self.asked:
            with self.spent.spending("checkpoint"):
                self.checkpoints.save(self.step, params, state.opt_state, meta)
                self.checkpoints.wait()
            self._stop_if_agreed()

    def _where(self) -> str:
        if self.step == 0:
            return f"{self.phase.name} comes next"
        return f"{self.phase.name} is saved at step {self.step} of {self.phase.plan.steps}"

    def _evaluate(self, step: int, params: Params | None = None) -> None:
        evaluate = self.phase.evaluate
        if evaluate is None:
            return
        params = self.params if params is None else params
        work = functools.partial(evaluate, params, lambda: agreed_reason(self.stopper))
        try:
            with self.spent.spending("evaluate"):
                figures = self._figures(work)
        except Stopped:
            return
        if figures is None:  # a stop came first; they are made when the run goes on
            return
        if self.phase.selection:
            self.phase.selection.keep(step, params, figures)
        self.record.log_heldout(step, figures)
        self.ended = self.phase.selection is not None and self.phase.selection.ended()
        say(f"{self.phase.name} step {step} held out: {brief(figures)}")

    def _figures(self, work: Callable[[], Any]) -> dict[str, Any] | None:
        # What several processes compute together, none of them can leave to itself.
        return work() if processes.several() else interruptible(work, self.stopper, "its figures are not made")

    def _log(self, index: int, end: int, progress: Progress) -> None:
        """Writes the means since the last line, and shows them with the pace and the time left."""
        stage = self.phase.plan.stages[index].name
        counted = {"skipped": self.skipped} if self.phase.nonfinite_skips else {}
        used = functools.partial(self.work.utilization, index, self.peak)
        self.spent.write(self.phase.name, self.step)
        means, pace = self.record.log(self.step, stage, used, **counted, **self.spent.goodput()), self.record.pace
        left = self.work.left(index, end - self.step, pace.seconds_per_step)
        progress.show(self.step, stage, means, pace, left)

    def _check(self, pending, program: Program, state: TrainState, rest: Params, control) -> None:
        """Stops on the first step too many that was not finite. Nothing changed since, so it can be looked into."""
        if pending is None:
            return
        step, batch, metrics = pending
        if "asked" in metrics and bool(metrics["asked"]):
            self.asked = self.stopper.reason or "another process was asked to stop"
        if np.all(metrics["finite"]):
            return
        phase = self.phase
        who, metrics, state, rest = self.devices.failed(metrics, state, rest)
        # From here on every process works for itself.
        batch = processes.whole(batch)
        counts = jax.device_get(program.counts(batch))
        terms = {name: value for name, value in jax.device_get(metrics).items() if name in counts}
        if bool(metrics["healthy"]):
            self._tell_skipped(step, int(metrics["skipped"]), terms)
            return
        trained, rest, teacher, control = processes.whole((state.trained, rest, phase.teacher, control))
        params = program.join(trained, rest, int(control.block))
        whole = {name: params if own is None else processes.whole(own) for name, (_, own) in phase.networks.items()}
        networks = {name: (cfg, whole[name]) for name, (cfg, _) in phase.networks.items()}
        rng = jax.random.fold_in(jax.random.key(phase.seed), step)

        def gradients():
            counts, key = program.counts(batch), jax.random.fold_in(rng, 0)
            return program.gradients(trained, rest, teacher, batch, counts, at_step(control, step, rng), key)[0]

        place = explain(networks, batch, terms, jax.jit(gradients), counts)
        newest = self.checkpoints.latest_step()
        kept = "no checkpoint was written yet" if newest is None else f"the checkpoint of step {newest} is kept"
        stage = phase.plan.stages[phase.plan.index_at(step)].name
        earlier = f" after {self.skipped} skipped" if self.skipped else ""
        raise NonFiniteError(f"{phase.name} step {step} (stage {stage}){who}{earlier}: {place}; {kept}")

    def _tell_skipped(self, step: int, skipped: int, terms: dict[str, Any]) -> None:
        """One line a skipped step; a step is looked at more than once."""
        if skipped == self.skipped:
            return
        self.skipped = skipped
        what = ", ".join(nonfinite_terms(terms)) or "gradient norm"
        allowed = self.phase.nonfinite_skips
        say(f"{self.phase.name} step {step}: {what} not finite; skipped, {skipped} of at most {allowed}")
