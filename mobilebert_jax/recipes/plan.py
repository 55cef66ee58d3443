"""`mobilebert plan`: what a recipe needs and takes on TPUs that need not be there."""

import dataclasses
import functools
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.parallel.chips import GIB
from mobilebert_jax.parallel.hlo_collectives import MeshAxes
from mobilebert_jax.parallel.hlo_costs import Work, work_of
from mobilebert_jax.parallel.hlo_text import parse_module
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.topologies import Topology, parse_topology, topology_devices
from mobilebert_jax.recipes.layouts import make_layout
from mobilebert_jax.recipes.plan_fit import what_fits
from mobilebert_jax.recipes.plan_report import DAY, Memory, StepCost, mean_cost, memory_of, step_cost
from mobilebert_jax.recipes.plan_steps import PhaseSteps, phase_steps
from mobilebert_jax.recipes.plan_ways import compared_ways
from mobilebert_jax.recipes.settings import PHASES, active_phases, at_run_time, check_config, model_config
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.training.program import Program
from mobilebert_jax.utils.errors import UserError, first_line

Row = dict[str, Any]


def plan_recipe(
    config: ConfigDict,
    topology: str,
    slices: int = 1,
    phases: Sequence[str] = (),
    show: Callable[[str], None] = lambda line: None,
) -> Row:
    """Compiles the steps of `phases` for a topology such as v5e:16x16.

    Without `phases` those are all that the config has, and fine-tuning where its batch can be split over the devices.
    Returns what the command prints, see `report`. `show` is told what is being compiled.

    Raises:
        UserError: bad config, unknown topology, no libtpu, a batch that cannot be split, a step that does not fit.
    """
    place = parse_topology(topology, slices)
    config = plannable(config, slices)
    names = planned_phases(config, phases)
    layout = make_layout(config, topology_devices(place))
    if layout is None:
        raise UserError(f"--topology={topology}: a single device has no mesh to plan; the smallest is two, such as 2x1")
    if not phases:
        names = _without_idle_questions(config, names, layout, show)
    for name in names:
        layout.check_batch(name, config[name].batch_size, config[name].accumulation)
    rows = []
    for steps in phase_steps(config, names, *networks(config)):
        try:
            rows.append(phase_row(steps, layout, place, show))
        except DoesNotFit as error:
            work = functools.partial(fits, name=steps.name, layout=layout, place=place, show=show)
            raise DoesNotFit(f"{error}; {what_fits(config, steps.name, layout, work)}") from error
    found = report(place, layout, config, rows)
    if "transfer" in names:
        found["transfer_ways"] = _transfer_ways(config, rows[names.index("transfer")], layout, place, show)
    return found


def _transfer_ways(config: ConfigDict, own: Row, layout: Layout, place: Topology, show: Callable[[str], None]) -> Row:
    """Every way of transfer beside the config's own, whose row is there; one whose step does not fit has no figures."""

    def row_of(changed: ConfigDict) -> Row | None:
        if changed.to_dict() == config.to_dict():
            return own
        (steps,) = phase_steps(changed, ("transfer",), *networks(changed))
        try:
            return phase_row(steps, layout, place, show)
        except DoesNotFit:
            return None

    blocks = networks(config)[1].num_hidden_layers
    return compared_ways(config, blocks, place.chips, row_of)


def _without_idle_questions(
    config: ConfigDict, names: tuple[str, ...], layout: Layout, show: Callable[[str], None]
) -> tuple[str, ...]:
    """Leaves out a fine-tuning that the config has no questions for, where its batch is too small for the devices."""
    settings = config.finetune
    if config.finetune.questions or settings.batch_size % (layout.batch_shards * settings.accumulation) == 0:
        return names
    show(
        f"finetune is left out: its batch of {settings.batch_size} cannot be split over {layout.batch_shards} devices; "
        "--phases=finetune plans it on a smaller topology"
    )
    return tuple(name for name in names if name != "finetune")


def fits(config: ConfigDict, name: str, layout: Layout, place: Topology, show: Callable[[str], None]) -> bool:
    """Whether the phase's step has the memory that it needs."""
    try:
        for steps in phase_steps(config, (name,), *networks(config)):
            phase_row(steps, layout, place, show)
    except DoesNotFit:
        return False
    return True


def plannable(config: ConfigDict, slices: int) -> ConfigDict:
    """The config checked, with a place holder for text (none is read) and one replica a slice unless it says more."""
    config = ConfigDict(config.to_dict())
    config.data.corpus = config.data.corpus or "unread.txt"
    if config.mesh.replica == 1:
        config.mesh.replica = slices
    check_config(config)
    return config


def planned_phases(config: ConfigDict, phases: Sequence[str]) -> tuple[str, ...]:
    """Those asked for, else all that the config has and fine-tuning, in the recipe's order."""
    for name in phases:
        if name not in PHASES:
            raise UserError(f"--phases={name}: no such phase; there are {', '.join(PHASES)}")
    chosen = phases or (*active_phases(config), "finetune")
    return tuple(name for name in PHASES if name in chosen)


def networks(config: ConfigDict) -> tuple[ModelConfig, ModelConfig]:
    """Teacher and student with the vocabulary that the run will have."""
    given = config.data.tokenizer
    words = config.data.vocab_size if given == "train" else load_tokenizer(given).vocab_size
    student = model_config(config, "student", words)
    if not config.teacher.path:
        return model_config(config, "teacher", words), student
    folder = Path(config.teacher.path, CONFIG)
    if not folder.is_file():
        raise UserError(f"teacher.path={config.teacher.path}: no model folder there")
    return at_run_time(config, "teacher", read_folder_config(folder).cfg), student


class DoesNotFit(UserError):
    """A step needs more memory than a device has."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What is kept of a compiled step."""

    memory: Memory
    work: tuple[Work, ...]
    seconds: float  # that compiling took


def compile_step(steps: PhaseSteps, program: Program, layout: Layout) -> Compiled:
    """Compiles one program; UserError when it does not fit, or when libtpu is in use."""
    began = time.monotonic()
    lowered = steps.lower(program, layout)
    with tempfile.TemporaryDirectory() as folder:
        try:
            compiled = lowered.compile({"xla_dump_to": folder, "xla_dump_hlo_as_text": True})
        except jax.errors.JaxRuntimeError as error:
            kind = DoesNotFit if _is_too_large(str(error)) else UserError
            raise kind(explain(steps.name, str(error))) from error
        took = time.monotonic() - began
        text = _text(compiled, Path(folder))
    return Compiled(memory_of(compiled), work_of(parse_module(text)), took)


def _text(compiled: jax.stages.Compiled, folder: Path) -> str:
    """The compiled program, from what the compiler wrote into `folder` where it did.

    `as_text` makes it from libtpu's binary form, and cannot read some asynchronous instructions of v5p and v6e programs
    (jaxlib 0.10.2).
    """
    written = list(folder.glob("*.after_optimizations.txt"))
    return written[0].read_text(encoding="utf-8") if len(written) == 1 else compiled.as_text()


_SIZES = re.compile(r"(\d+(?:\.\d+)?)([KMGT])\b")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": GIB, "T": 1 << 40}


def _is_too_large(text: str) -> bool:
    return "ran out of memory" in text.lower()


def explain(name: str, text: str) -> str:
    """One line for what the compiler says against a phase's step."""
    if "lockfile" in text:
        return "libtpu is in use by another process, and serves one at a time: try again when that has ended"
    sizes = [float(number) * _UNITS[unit] / GIB for number, unit in _SIZES.findall(text)]
    if not _is_too_large(text) or len(sizes) < 2:
        return f"{name}: the step does not compile: {first_line(Exception(text)).split(': ', 1)[1]}"
    return _too_large(name, *sizes[:2])


def _too_large(name: str, needed: float, there: float) -> str:
    """By how much a phase's step does not fit, in GiB."""
    return (
        f"{name}: the step does not fit: it needs {needed:.2f} GiB a device, {needed - there:.2f} more than the "
        f"{there:.2f} there are"
    )


def phase_row(steps: PhaseSteps, layout: Layout, place: Topology, show: Callable[[str], None]) -> Row:
    """A phase's row: each of its programs compiled once, each of its stages counted."""
    axes = MeshAxes(dict(layout.mesh.shape), place.slices)
    costs: dict[int, StepCost] = {}
    memories, seconds = [], 0.0
    for program, stages in steps.distinct().items():
        show(f"compiling {steps.name} ({program.name}) for {place.name}")
        compiled = compile_step(steps, program, layout)
        memories.append(dataclasses.replace(compiled.memory, held=steps.held(program, layout)))
        seconds += compiled.seconds
        for stage in stages:
            costs[stage] = step_cost(compiled.work, steps.trips(stage), place.chip, axes)
    most = max(memories, key=lambda memory: memory.needed)
    if most.needed > place.chip.memory:
        raise DoesNotFit(_too_large(steps.name, most.needed / GIB, place.chip.memory / GIB))
    counts = [stage.steps for stage in steps.plan.stages]
    mean = mean_cost((costs[index], count) for index, count in enumerate(counts))
    batch_size = steps.config[steps.name].batch_size
    row = {
        "phase": steps.name,
        "steps": sum(counts),
        "batch_size": batch_size,
        "sequence_length": steps.config[steps.name].sequence_length,
        "memory": {**dataclasses.asdict(most), "needed": most.needed, "available": int(place.chip.memory)},
        **_step_figures(mean),
        "examples_per_second_per_host": batch_size / mean.seconds / place.hosts,
        "days": mean.seconds * sum(counts) / DAY,
        "compile_seconds": round(seconds, 1),
    }
    if len(counts) > 1:
        stages = zip(steps.plan.stages, counts, strict=True)
        row["stages"] = [
            {"stage": stage.name, "steps": count, **_step_figures(costs[index])}
            for index, (stage, count) in enumerate(stages)
        ]
    return row


def _step_figures(cost: StepCost) -> Row:
    """A step's costs by the names that the command prints."""
    return {
        "flops": cost.flops,
        "matrix_flops": cost.matrix_flops,
        "bytes": cost.bytes,
        "collective_bytes": cost.traffic,
        "seconds": {name: getattr(cost, name) for name in ("compute", "memory", "ici", "dcn")} | {"step": cost.seconds},
        "bound": cost.bound,
    }


def report(place: Topology, layout: Layout, config: ConfigDict, rows: list[Row]) -> Row:
    """Everything about the place and the recipe; figures of rows are of one device and, unless said, of one step."""
    days = sum(row["days"] for row in rows)
    return {
        "topology": place.name,
        "slices": place.slices,
        "chips": place.chips,
        "devices": place.devices,
        "hosts": place.hosts,
        "chip": dataclasses.asdict(place.chip),
        "mesh": dict(layout.mesh.shape),
        "preset": config.mesh.preset,
        "teacher_preset": config.mesh.teacher_preset or config.mesh.preset,
        "phases": rows,
        "days": days,
        "chip_hours": days * 24 * place.chips,
    }
