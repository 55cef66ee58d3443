"""`bench transfer`: what a progressive stage costs, beside what it replaces, and that both do the same.

Seven ways to make the same step, timed in turn on the same batch (median of the repeats, so that a drifting machine
slows all of them alike):

    ours        `BlockProgram`: forward to block l, backward through block l alone, one program for all stages
    reference   the original's way, in linen's own dense layers: both networks whole, backward through everything,
                gates on loss and update
    whole       the same walk in this package's dense layers: what is left when only the stage's shape differs; it is
                also a step of joint transfer, whatever the stage
    truncated   both networks cut at block l, lower blocks stopped: one program a stage, as TF2 Model Garden has it
    soft        `PrefixProgram`: blocks 0..l learn
    local       `LocalProgram`: all blocks at once, each from its own loss; in the place of one step of every stage
    local_4     the same with four updates from the batch, whose teacher walks once: in the place of four steps
"""

import dataclasses
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from tqdm import tqdm

from mobilebert_jax.bench.plain import PlainProgram
from mobilebert_jax.bench.transfer_at_once import UPDATES, at_once, print_at_once
from mobilebert_jax.bench.truncated import TruncatedProgram
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.optim.optimizer import OptimizerConfig
from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.recipes.plan_ways import LOCAL
from mobilebert_jax.recipes.plans import transfer_plan
from mobilebert_jax.recipes.settings import learning_rate, model_config, optimizer_config, transfer_pair
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.local import LocalProgram
from mobilebert_jax.training.program import LearningRate, Program, TrainState, control_at, init_state, make_step
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.training.transfer import BlockProgram, PrefixProgram, Transfer
from mobilebert_jax.training.walks import take
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch, Params

SOFT_RATE = 0.3
WAYS = ("ours", "reference", "whole", "truncated", "soft", "local", "local_4")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all ways have in common."""

    teacher: Params
    student: Params
    batch: Batch
    optimizer: OptimizerConfig
    rate: LearningRate


@dataclasses.dataclass
class Way:
    """One way to make a stage's step."""

    program: Program
    plan: Plan
    step: Any
    compiled_gradients: Any = None

    def run(self, setting: Setting, state: TrainState, rest: Params, block: int) -> tuple[TrainState, dict, float]:
        """One step and its seconds."""
        control = control_at(self.plan, self.stage(block))
        started = time.perf_counter()
        state, metrics = self.step(state, rest, setting.teacher, setting.batch, control)
        jax.block_until_ready(state)
        return state, metrics, time.perf_counter() - started

    def start(self, setting: Setting, block: int) -> tuple[TrainState, Params]:
        """The state in the middle of a stage, where the learning rate is not 0."""
        trained, rest = self.program.cut(setting.student, block)
        trained = jax.tree.map(jnp.copy, trained)
        stage = self.stage(block)
        middle = self.plan.start(stage) + self.plan.stages[stage].steps // 2
        return init_state(trained, setting.optimizer, middle), rest

    def stage(self, block: int) -> int:
        """The stage in which a block learns; there may be one for all."""
        return min(block, len(self.plan.stages) - 1)


def bench_transfer(
    config: ConfigDict | None,
    batch_size: int,
    sequence_length: int,
    repeats: int,
    ways: Sequence[str] = WAYS,
    show: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Every stage in every way; seconds are medians of `repeats` interleaved steps after a warm-up.

    `config` None means the paper's models in float32. `show` gets each stage's row as soon as it is measured. Relative
    errors compare ours with the reference: the loss, the active block's gradients, and that block's parameters after
    one step; these two are always among `ways`.

    Raises:
        UserError: a size below 1, sequences longer than a model's positions, or a way that does not exist.
    """
    for name, value in (("batch_size", batch_size), ("sequence_length", sequence_length), ("repeats", repeats)):
        if value < 1:
            raise UserError(f"--{name}={value}: must be at least 1")
    names = checked_ways(ways)
    config = _paper_config() if config is None else config
    setting, transfer = _setting(config, batch_size, sequence_length)
    made = {name: way for name, way in _ways(config, transfer, setting).items() if name in names}
    ours, reference = made["ours"], made["reference"]
    stages = []
    for block in tqdm(range(transfer.pair.student.num_hidden_layers), unit="stage", disable=None):
        timed = dict(made)
        if "truncated" in names:
            timed["truncated"] = _way(TruncatedProgram(transfer, block=block), ours.plan, setting)
        row = {"stage": block, **_seconds(timed, setting, block, repeats)}
        row |= _errors(ours, reference, setting, block)
        stages.append(row)
        show(row)
    return {
        "device": jax.devices()[0].device_kind,
        "batch": [batch_size, sequence_length],
        "repeats": repeats,
        "stages": stages,
        "sums": {name: sum(row[name] for row in stages) for name in names},
        "at_once": at_once(stages),
        "compilations": {name: made[name].step._cache_size() for name in ("ours", "soft", "local") if name in made},
        "memory": {name: _memory(way, setting) for name, way in made.items()},
        "peak_process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _paper_config() -> ConfigDict:
    config = default_config()
    for which in ("teacher", "student"):
        config.model[which].dtype = "float32"
    return config


def _setting(config: ConfigDict, batch_size: int, sequence_length: int) -> tuple[Setting, Transfer]:
    """Random weights and tokens: time and equality do not depend on what they say."""
    vocab_size = config.data.vocab_size
    teacher, student = (model_config(config, which, vocab_size) for which in ("teacher", "student"))
    for which, cfg in (("teacher", teacher), ("student", student)):
        if sequence_length > cfg.max_position_embeddings:
            longest = f"model.{which}.max_position_embeddings is {cfg.max_position_embeddings}"
            raise UserError(f"--sequence_length={sequence_length}: {longest}")
    pair = transfer_pair(config, teacher, student)
    plan = _plan(config, student.num_hidden_layers)
    rng = np.random.default_rng(0)
    lengths = rng.integers(sequence_length // 2, sequence_length + 1, batch_size)
    mask = (np.arange(sequence_length) < lengths[:, None]).astype(np.int32)
    ids = rng.integers(5, vocab_size, (batch_size, sequence_length)).astype(np.int32) * mask
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
    setting = Setting(
        teacher=_parameters(teacher, 0),
        student=_parameters(student, 1),
        batch=jax.tree.map(jnp.asarray, batch),
        optimizer=optimizer_config(config.transfer),
        rate=learning_rate(config.transfer, plan.steps),
    )
    return setting, Transfer(pair, plan.stages[0].coefficients)


def _parameters(cfg: ModelConfig, seed: int) -> Params:
    return init_params(build_model(cfg, "pretraining"), seed)


def _ways(config: ConfigDict, transfer: Transfer, setting: Setting) -> dict[str, Way]:
    """All but the truncated ones, which are made a stage."""
    blocks = transfer.pair.student.num_hidden_layers
    hard, soft = _plan(config, blocks), _plan(config, blocks, lower_rate=SOFT_RATE)
    programs = {
        "ours": (BlockProgram(transfer), hard),
        "reference": (PlainProgram(transfer, transfer.coefficients, blocks_only=True), hard),
        "whole": (PairProgram(transfer, transfer.coefficients, blocks_only=True), hard),
        "soft": (PrefixProgram(transfer), soft),
        "local": (
            LocalProgram(transfer, transfer.coefficients, blocks_only=True),
            _plan(config, blocks, **LOCAL),
        ),
        "local_4": (
            LocalProgram(transfer, transfer.coefficients, blocks_only=True, updates=UPDATES),
            _plan(config, blocks, **LOCAL | {"updates": UPDATES}),
        ),
    }
    return {name: _way(program, plan, setting) for name, (program, plan) in programs.items()}


def _plan(config: ConfigDict, blocks: int, **settings: Any) -> Plan:
    """The stages of progressive transfer with hard freezing, or of what `settings` say."""
    config = ConfigDict(config.to_dict())
    config.transfer.update({"strategy": "progressive", "lower_rate": 0.0, **settings})
    return transfer_plan(config, blocks)


def checked_ways(ways: Sequence[str]) -> tuple[str, ...]:
    """Those that are wanted and the two that are compared, in order; UserError for one that does not exist."""
    for name in ways:
        if name not in WAYS:
            raise UserError(f"--ways: there is no {name!r}, only {', '.join(WAYS)}")
    return tuple(name for name in WAYS if name in ("ours", "reference", *ways))


def _way(program: Program, plan: Plan, setting: Setting) -> Way:
    return Way(program, plan, make_step(program, setting.optimizer, setting.rate, accumulation=1, seed=0))


def _seconds(ways: dict[str, Way], setting: Setting, block: int, repeats: int) -> dict[str, float]:
    """Median seconds a step of each way; the first round compiles and does not count."""
    states = {name: way.start(setting, block) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            state, rest = states[name]
            state, _, elapsed = way.run(setting, state, rest, block)
            states[name] = state, rest
            seconds[name].append(elapsed)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def _errors(ours: Way, reference: Way, setting: Setting, block: int) -> dict[str, float]:
    """Relative differences of losses, active gradients and updated parameters, ours against the reference."""
    results = []
    for way in (ours, reference):
        state, rest = way.start(setting, block)
        gradients = _gradients(way, setting, state, rest, block)
        state, metrics, _ = way.run(setting, state, rest, block)
        student = way.program.join(state.trained, rest, block)
        results.append((metrics, gradients, student))
    (metrics, gradients, student), (full_metrics, full_gradients, full_student) = results
    full_gradients = jax.tree.map(lambda leaf: leaf[block], full_gradients["encoder"]["layers"])
    terms = ours.program.transfer.coefficients
    loss, full_loss = (
        sum(terms[name] * np.asarray(values[name], np.float64).reshape(-1)[index] for name in terms)
        for values, index in ((metrics, 0), (full_metrics, block))
    )
    return {
        "loss_error": float(abs(loss - full_loss) / abs(full_loss)),
        "gradient_error": relative_error(gradients, full_gradients),
        "parameter_error": relative_error(
            *(take(tree["encoder"]["layers"], block) for tree in (student, full_student))
        ),
    }


def _gradients(way: Way, setting: Setting, state: TrainState, rest: Params, block: int) -> Params:
    """The gradients that the way's step would use."""
    if way.compiled_gradients is None:
        program, key = way.program, jax.random.key(0)

        def gradients(trained, rest, teacher, batch, control):
            return program.gradients(trained, rest, teacher, batch, program.counts(batch), control, key)[0]

        way.compiled_gradients = jax.jit(gradients)
    return way.compiled_gradients(state.trained, rest, setting.teacher, setting.batch, control_at(way.plan, block))


def relative_error(tree: Params, expected: Params) -> float:
    """Norm of the difference over the norm of what is expected, over the whole tree.

    Not leaf by leaf: the gradient of a key's bias is 0 (a softmax does not see it), and its rounding is all there is.
    """
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, tree, expected))
    return float(difference / optax.tree.norm(expected))


def _memory(way: Way, setting: Setting) -> dict[str, int]:
    """Bytes of temporaries as compiled, and of the optimizer's slots."""
    last = len(way.plan.stages) - 1
    state, rest = way.start(setting, last)
    compiled = way.step.lower(state, rest, setting.teacher, setting.batch, control_at(way.plan, last)).compile()
    return {
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
        "slot_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state.opt_state)),
    }


def print_head(batch_size: int, sequence_length: int, repeats: int, ways: Sequence[str] = WAYS) -> None:
    """What the rows below hold."""
    names = checked_ways(ways)
    device = jax.devices()[0].device_kind
    print(f"{device}, batch {[batch_size, sequence_length]}, medians of {repeats} interleaved steps, seconds")
    print("stage" + "".join(f"{way:>11}" for way in names) + "   ref/ours   loss err  grad err  param err", flush=True)


def print_stage(row: dict[str, Any]) -> None:
    """One stage's row."""
    errors = f"{row['loss_error']:10.1e}{row['gradient_error']:10.1e}{row['parameter_error']:11.1e}"
    _print_row(str(row["stage"]), row, errors)


def print_sums(report: dict[str, Any]) -> None:
    """What stands below the rows: sums, compilations, memory."""
    _print_row("sum", report["sums"], "")
    if report["at_once"]:
        print_at_once(report["at_once"], len(report["stages"]))
    print("compilations for all stages: " + ", ".join(f"{way} {n}" for way, n in report["compilations"].items()))
    for name, sizes in report["memory"].items():
        temporary, slots = (sizes[kind] / 2**20 for kind in ("temporary_bytes", "slot_bytes"))
        print(f"{name:>10}: temporaries {temporary:8.1f} MiB, optimizer slots {slots:8.1f} MiB")
    print(f"peak memory of this process: {report['peak_process_bytes'] / 2**30:.2f} GiB", flush=True)


def _print_row(name: str, seconds: dict[str, float], errors: str) -> None:
    ratio = seconds["reference"] / seconds["ours"]
    values = "".join(f"{seconds[way]:11.3f}" for way in WAYS if way in seconds)
    tqdm.write(f"{name:>5}{values}{ratio:11.2f} {errors}", file=sys.stdout)
    sys.stdout.flush()
