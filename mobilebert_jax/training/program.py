"""From a stage to one compiled step: cut the trained part out, take gradients, accumulate, update, join again."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp

from mobilebert_jax.objectives.terms import term_mean
from mobilebert_jax.optim import schedules
from mobilebert_jax.optim.optimizer import OptimizerConfig, apply_updates, make_optimizer
from mobilebert_jax.optim.slices import block_norms, global_norm
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.utils.placement import active, constrain
from mobilebert_jax.utils.types import Array, Batch, Params


@flax.struct.dataclass
class TrainState:
    """The only thing a step donates: what it changes."""

    step: Array  # int32 scalar, the number of steps done
    trained: Params  # the part of the parameters that this stage changes
    opt_state: Any  # slots for `trained` alone
    healthy: Array  # bool scalar; False from the first step too many that was not finite, then nothing changes any more
    skipped: Array  # int32 scalar, the phase's steps so far that were not finite and changed nothing but `step`


@flax.struct.dataclass
class Control:
    """A stage as arrays, so that one compiled step serves all stages of a phase."""

    start: Array  # int32 scalar, the phase's step at which the stage begins
    steps: Array  # int32 scalar, the stage's length
    block: Array  # int32 scalar, the highest block whose transfer loss counts
    block_weights: Array  # [L] float32
    block_rates: Array  # [L] float32
    embedding_rate: Array  # float32 scalar
    head_rate: Array  # float32 scalar, for pooler and heads
    background: Array  # bool scalar, whether the stage's own warm-up multiplies the rate
    block_spans: Array  # [L, 2] int32, the stage's steps from .. to in which each block learns
    block_end_ratio: Array  # float32 scalar, what a block's rate falls to within its span, over its own
    fed_share: Array  # [2] float32, of the blocks that the teacher feeds, at the stage's first and last step
    fed: Array  # [L] bool, which blocks it feeds at this step, see `at_step`


class Program(Protocol):
    """What distinguishes one kind of stage from another. All methods but `part`, `cut` and `join` are traced."""

    name: str
    one_block: bool  # the trained part is one block of a stack, without its layer axis
    independent: bool  # no block of the trained part has a part in another's loss: each is clipped by its own norm
    updates: int  # made from every batch

    def part(self, tree: Params) -> Params:
        """Where the trained part lies in a tree like the whole parameters, all blocks of a stack together."""

    def cut(self, params: Params, block: int) -> tuple[Params, Params]:
        """The whole parameters -> (the part that learns, everything a step reads beside it)."""

    def join(self, trained: Params, rest: Params, block: int) -> Params:
        """The inverse of `cut`: whole parameters, with the trained part in its place."""

    def counts(self, batch: Batch) -> dict[str, Array]:
        """What every term is divided by, from the whole batch."""

    def seen(self, teacher: Params, batch: Batch) -> Batch:
        """The batch with what several updates from it would otherwise ask of the teacher again."""

    def gradients(
        self, trained: Params, rest: Params, teacher: Params, batch: Batch, counts: dict, control: Control, rng: Array
    ) -> tuple[Params, dict[str, Array]]:
        """Gradients of `sum(coefficient * sum / count)` for one microbatch, and the terms' sums."""

    def multipliers(self, trained: Params, control: Control, factor: Array) -> Params | None:
        """Learning-rate multipliers of the trained part, times `factor`; None when everything learns alike."""


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """The base schedule of a phase (google-research `optimization.py`): linear warm-up, linear decay."""

    peak: float
    warmup_steps: int
    total_steps: int
    end_ratio: float

    def __call__(self, step: Array) -> Array:
        """The rate at a step, float32."""
        return schedules.polynomial(step, **dataclasses.asdict(self))


def control_at(plan: Plan, index: int) -> Control:
    """The arrays of stage `index`."""
    stage = plan.stages[index]
    blocks = len(stage.block_rates)
    return Control(
        start=jnp.int32(plan.start(index)),
        steps=jnp.int32(stage.steps),
        block=jnp.int32(stage.top),
        block_weights=jnp.asarray(stage.block_weights or (0.0,) * blocks, jnp.float32),
        block_rates=jnp.asarray(stage.block_rates, jnp.float32),
        embedding_rate=jnp.float32(stage.embedding_rate),
        head_rate=jnp.float32(stage.head_rate),
        background=jnp.bool_(stage.background),
        block_spans=jnp.asarray(stage.block_spans or ((0, stage.steps),) * blocks, jnp.int32).reshape(blocks, 2),
        block_end_ratio=jnp.float32(stage.block_end_ratio),
        fed_share=jnp.asarray(stage.fed if stage.inputs == "teacher" else (0.0, 0.0), jnp.float32),
        fed=jnp.zeros(blocks, bool),
    )


def at_step(control: Control, step: Array, rng: Array) -> Control:
    """What holds at one of the stage's steps: each block's rate, 0 outside its span, and `fed`, which is drawn.

    `rng` is the step's own key, before microbatches fold into it: all of them feed the same blocks.
    """
    step = step - control.start
    first, stop = control.block_spans[:, 0], control.block_spans[:, 1]
    begin, end = control.fed_share
    share = begin + (end - begin) * step / jnp.maximum(control.steps - 1, 1)
    draws = jax.random.uniform(jax.random.fold_in(rng, _FED), control.fed.shape)
    falling = {"warmup_steps": 0, "total_steps": stop - first, "end_ratio": control.block_end_ratio}
    rates = control.block_rates * schedules.polynomial(step - first, peak=1.0, **falling)
    rates = jnp.where((first <= step) & (step < stop), rates, 0.0)
    return control.replace(block_rates=rates, fed=draws < share)


_FED = 0x7FFFFFFF
"""What no microbatch's number is."""


def make_step(
    program: Program,
    optimizer: OptimizerConfig,
    learning_rate: LearningRate,
    accumulation: int,
    seed: int,
    nonfinite_skips: int = 0,
    layout: Layout | None = None,
    out_shardings: Any = None,
    side_by_side: bool = False,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """The compiled step `(state, rest, teacher, batch, control) -> (state, metrics)`; only `state` is donated.

    Metrics: the loss terms' means, `loss`-free names of the objectives, `grad_norm` (of each block, [L], where they
    are independent), `learning_rate`, and `finite` (this step was), `healthy` (at most `nonfinite_skips` of the phase's
    were not), `skipped` (how many). Of a program that makes several `updates` from a batch, those of the first, which
    has not seen it yet; the step is finite if all are.

    Under a `layout` the arguments are global arrays and `out_shardings` are the state's. A sixth argument, a bool for
    each device, is then whether its process was asked to stop; the metric `asked` is whether any was.

    `side_by_side`: everything of the state but `step`, `rest` and the metrics have a leading axis, of students that
    learn from the same batches; what the teacher makes of them is made once.
    """
    step = _step(program, optimizer, learning_rate, accumulation, seed, nonfinite_skips)

    def placed(*arguments: Any):
        with active(layout):
            return step(*arguments)

    if side_by_side:
        state = TrainState(step=None, trained=0, opt_state=0, healthy=0, skipped=0)
        step = jax.vmap(step, in_axes=(state, 0, None, None, None), out_axes=(state, 0))
    if layout is None:
        return jax.jit(step, donate_argnums=0)
    return jax.jit(placed, donate_argnums=0, out_shardings=(out_shardings, layout.replicated))


def _step(
    program: Program,
    optimizer: OptimizerConfig,
    learning_rate: LearningRate,
    accumulation: int,
    seed: int,
    nonfinite_skips: int,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """What `make_step` compiles."""
    tx = make_optimizer(optimizer, by_block=program.independent)

    def step(state: TrainState, rest: Params, teacher: Params, batch: Batch, control: Control, asked: Any = None):
        rng = jax.random.fold_in(jax.random.key(seed), state.step)
        control = at_step(control, state.step, rng)
        stage_step = state.step - control.start
        counts = program.counts(batch)
        factor = jnp.where(control.background, schedules.background(stage_step, control.steps), 1.0)
        multipliers = program.multipliers(state.trained, control, factor)
        rate = learning_rate(state.step)
        batch = batch if program.updates == 1 else program.seen(teacher, batch)

        def update(learnt, number):
            trained, slots = learnt
            grads, sums = accumulate(program, trained, rest, teacher, batch, counts, control, rng, accumulation)
            norm = (block_norms if program.independent else global_norm)(grads, multipliers)
            metrics = {name: term_mean(value, counts[name]) for name, value in sums.items()}
            # The counts too: a weight that is no number would otherwise pass for a batch with nothing to count.
            finite = all_finite(norm) & all_finite(metrics) & all_finite(counts)
            settings = {"learning_rate": rate, "multipliers": multipliers, "learns": state.healthy & finite}
            updates, slots = tx.update(grads, slots, trained, fresh=(stage_step == 0) & (number == 0), **settings)
            new = apply_updates(trained, updates, multipliers)
            trained = jax.tree.map(lambda new, old: jnp.where(settings["learns"], new, old), new, trained)
            return (trained, slots), {**metrics, "grad_norm": norm, "finite": finite}

        (trained, opt_state), metrics = _repeated(update, (state.trained, state.opt_state), program.updates)
        skipped = state.skipped + ~metrics["finite"]
        healthy = state.healthy & (skipped <= nonfinite_skips)
        new_state = TrainState(state.step + 1, trained, opt_state, healthy, skipped)
        flags = {"learning_rate": rate * factor, "healthy": healthy, "skipped": skipped}
        flags |= {} if asked is None else {"asked": jnp.any(asked)}
        return new_state, metrics | flags

    return step


def _repeated(update: Callable[[Any, Array | int], tuple[Any, dict]], learnt: Any, times: int) -> tuple[Any, dict]:
    """The update so many times, one after another; metrics of the first, `finite` if all are."""
    if times == 1:
        return update(learnt, 0)
    learnt, metrics = jax.lax.scan(update, learnt, jnp.arange(times))
    return learnt, jax.tree.map(lambda values: values[0], metrics) | {"finite": metrics["finite"].all()}


def init_state(trained: Params, optimizer: OptimizerConfig, step: int = 0, skipped: int = 0) -> TrainState:
    """A state with empty slots; `trained` becomes part of it and is donated with it."""
    slots = _empty_slots(optimizer, trained)
    return TrainState(jnp.int32(step), trained, slots, jnp.bool_(True), jnp.int32(skipped))


@functools.partial(jax.jit, static_argnums=0)
def _empty_slots(optimizer: OptimizerConfig, trained: Params) -> Any:
    return make_optimizer(optimizer).init(trained)


def all_finite(tree: Any) -> Array:
    """Bool scalar: every element of every leaf is finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def accumulate(
    program: Program,
    trained: Params,
    rest: Params,
    teacher: Params,
    batch: Batch,
    counts: dict[str, Array],
    control: Control,
    rng: Array,
    accumulation: int,
) -> tuple[Params, dict[str, Array]]:
    """Gradients and sums over `accumulation` microbatches; nothing is divided afterwards (design idea 6)."""

    def micro(part: Batch, index: Array | int):
        key = jax.random.fold_in(rng, index)
        return program.gradients(trained, rest, teacher, part, counts, control, key)

    if accumulation == 1:
        return micro(batch, 0)
    # Strided, so that every device keeps its share of each microbatch.
    parts = jax.tree.map(lambda leaf: _microbatches(leaf, accumulation), batch)
    shapes = jax.eval_shape(micro, jax.tree.map(lambda leaf: leaf[0], parts), 0)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def body(total, item):
        part, index = item
        return jax.tree.map(jnp.add, total, micro(part, index)), None

    return jax.lax.scan(body, zeros, (parts, jnp.arange(accumulation)))[0]


def _microbatches(leaf: Array, accumulation: int) -> Array:
    """[B, ...] -> [accumulation, B / accumulation, ...]."""
    parts = leaf.reshape(-1, accumulation, *leaf.shape[1:]).swapaxes(0, 1)
    return constrain(parts, (None, "batch", *[None] * (parts.ndim - 2)))
