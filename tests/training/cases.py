"""A tiny pair, batches with uneven padding, stages, and every program's gradients and steps, compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.heads import MobileBertForPreTraining
from mobilebert_jax.objectives.terms import term_mean
from mobilebert_jax.optim.optimizer import OptimizerConfig
from mobilebert_jax.training.alone import AloneProgram
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.local import LocalProgram
from mobilebert_jax.training.program import LearningRate, accumulate, control_at, init_state, make_step
from mobilebert_jax.training.stages import Plan, Stage
from mobilebert_jax.training.transfer import BlockProgram, PrefixProgram, Transfer
from mobilebert_jax.training.walks import Pair
from mobilebert_jax.utils.trees import named_leaves
from tests.models.model_cases import random_params
from tests.training.quick import quick_jit

TEACHER, STUDENT = preset("test_teacher"), preset("test_student", num_feedforward_networks=2)
BLOCKS, EXAMPLES, LENGTH, PREDICTIONS = 3, 8, 10, 3
COEFFICIENTS = {"hidden": 3.0, "mean": 2.0, "variance": 0.5, "attention": 1.0}
HEADS = {"masked_lm": 0.5, "distillation": 0.5, "next_sentence": 1.0}
# AdamW's epsilon keeps gradients that are 0 but for rounding (see `assert_close`) from being blown up to full steps.
OPTIMIZERS = {
    "lamb": OptimizerConfig(),
    "adamw": OptimizerConfig(name="adamw", bias_correction=True, eps=1e-4),
    "tf1": OptimizerConfig(clip_frozen=True),
}
LEARNING_RATE = LearningRate(peak=3e-3, warmup_steps=2, total_steps=40, end_ratio=0.1)

TRANSFER = Transfer(Pair(TEACHER, STUDENT, (0, 1, 2)), COEFFICIENTS)
BLOCK, PREFIX = BlockProgram(TRANSFER), PrefixProgram(TRANSFER)
PAIR = PairProgram(TRANSFER, COEFFICIENTS, blocks_only=True)
LOCAL = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True)
EVERYTHING = PairProgram(TRANSFER, COEFFICIENTS | HEADS, blocks_only=False)
ALONE = AloneProgram(MobileBertForPreTraining(STUDENT), HEADS, MobileBertForPreTraining(TEACHER), dropout=False)


@functools.cache
def network(cfg, seed=0):
    """Parameters that leave nothing at its initial value; shared, so nothing may donate them."""
    return jax.tree.map(jnp.asarray, random_params(MobileBertForPreTraining(cfg), seed))


def batch(seed=0):
    """Eight examples of two to ten tokens with none to three masked positions."""
    rng = np.random.default_rng(seed)
    lengths, predictions = np.array([10, 7, 2, 9, 4, 10, 3, 6]), np.array([3, 1, 0, 2, 3, 1, 2, 1])
    attention_mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
    integers = {
        "input_ids": rng.integers(1, TEACHER.vocab_size, (EXAMPLES, LENGTH)) * attention_mask,
        "attention_mask": attention_mask,
        "token_type_ids": rng.integers(0, 2, (EXAMPLES, LENGTH)),
        "masked_positions": rng.integers(0, lengths[:, None], (EXAMPLES, PREDICTIONS)),
        "masked_ids": rng.integers(0, TEACHER.vocab_size, (EXAMPLES, PREDICTIONS)),
        "next_sentence_labels": rng.integers(0, 2, EXAMPLES),
    }
    weights = (np.arange(PREDICTIONS) < predictions[:, None]).astype(np.float32)
    return {name: value.astype(np.int32) for name, value in integers.items()} | {"masked_weights": weights}


def block_stage(block, *, lower=0.0, steps=3, blocks=BLOCKS):
    """One stage of progressive transfer, as `recipes.plans` makes them."""
    rates = (*(lower,) * block, 3.0, *(0.0,) * (blocks - block - 1))
    weights = tuple(float(index == block) for index in range(blocks))
    name = f"block {block}"
    return Stage(name, steps, COEFFICIENTS, rates, weights, embedding_rate=0.0, head_rate=0.0, background=True)


def whole_stage(coefficients, *, steps=3, blocks=BLOCKS, weights=None):
    """All blocks' transfer losses, everything learns."""
    weights = (1.0,) * blocks if weights is None else weights
    return Stage("everything", steps, coefficients, (1.0,) * blocks, weights)


def local_stage(*, steps=3, blocks=BLOCKS, **fields):
    """Every block learns from its own transfer loss, as `recipes.plans` makes it."""
    settings = {"block_rates": (3.0,) * blocks, "block_weights": (1.0,) * blocks, "background": True}
    settings |= {"embedding_rate": 0.0, "head_rate": 0.0, "gradient": "local"}
    return Stage("each block", steps, COEFFICIENTS, **settings | fields)


@functools.cache
def compiled_gradients(program, accumulation):
    @quick_jit
    def gradients(trained, rest, teacher, batch, control):
        counts = program.counts(batch)
        rng = jax.random.key(0)
        grads, sums = accumulate(program, trained, rest, teacher, batch, counts, control, rng, accumulation)
        return grads, {name: term_mean(value, counts[name]) for name, value in sums.items()}

    return gradients


def gradients(program, stage, accumulation=1, student=STUDENT, teacher=TEACHER, examples=None):
    """(gradients of the trained tree, means of the terms) on one batch."""
    trained, rest = program.cut(network(student, 2), stage.top)
    examples = batch() if examples is None else examples
    control = control_at(Plan((stage,)), 0)
    return compiled_gradients(program, accumulation)(trained, rest, network(teacher, 1), examples, control)


@functools.cache
def compiled_step(program, *settings):
    """What `make_step` gives, as shipped for the walks that are there to be cheap, compiled quickly for the others."""
    step = make_step(program, *settings)
    return step if program in (BLOCK, PREFIX, LOCAL) else quick_jit(step.__wrapped__, donate_argnums=0)


def step_of(program, optimizer="lamb"):
    """The program's one compiled step."""
    return compiled_step(program, OPTIMIZERS[optimizer], LEARNING_RATE, 1, 0, 0)


def run_stage(program, plan, index, params, optimizer="lamb"):
    """(whole parameters, last state, all steps' metrics) of one stage on batches that are functions of the step."""
    control, start = control_at(plan, index), plan.start(index)
    trained, rest = program.cut(params, int(control.block))
    state = init_state(jax.tree.map(jnp.copy, trained), OPTIMIZERS[optimizer], start)
    step, metrics = step_of(program, optimizer), []
    for number in range(start, plan.start(index + 1)):
        donated = state
        state, found = step(state, rest, network(TEACHER, 1), jax.device_put(batch(number)), control)
        metrics.append(found)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(donated.trained))
    return program.join(state.trained, rest, int(control.block)), state, metrics


def assert_close(found, expected, rtol=1e-5):
    """Every leaf to `rtol` of its norm; leaves below a tenth of the whole are measured against that tenth.

    Some gradients are 0 but for rounding: a key's bias adds the same to all scores of a query.
    """
    found, expected = named_leaves(found), named_leaves(expected)
    assert found.keys() == expected.keys()
    norms = {name: np.linalg.norm(np.float64(leaf)) for name, leaf in expected.items()}
    whole = np.linalg.norm(list(norms.values()))
    for name, leaf in expected.items():
        assert found[name].shape == leaf.shape, name
        error = np.linalg.norm(np.float64(found[name]) - np.float64(leaf))
        assert error <= rtol * max(norms[name], whole / 10), f"{name}: {error} of {norms[name]}, {whole} in all"


def assert_same_bits(found, expected, but=()):
    """Every leaf bit for bit, except those named."""
    found, expected = named_leaves(found), named_leaves(expected)
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        if name not in but:
            assert found[name].dtype == leaf.dtype, name
            assert np.asarray(found[name]).tobytes() == np.asarray(leaf).tobytes(), name


def cut_block(params, index):
    """One block of a stack [L, ...], by plain indexing."""
    return jax.tree.map(lambda leaf: leaf[index], params["encoder"]["layers"])
