"""Local transfer: every block learns at once, each as if it were alone with what enters it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.objectives.terms import term_mean, weighted_total
from mobilebert_jax.objectives.transfer import transfer_counts, transfer_sums
from mobilebert_jax.training.local import LocalProgram
from mobilebert_jax.training.program import at_step, control_at
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.training.transfer import Transfer
from mobilebert_jax.training.walks import Pair, block_mask, embed, layer_statistics, run_block
from tests.training.cases import (
    BLOCK,
    BLOCKS,
    COEFFICIENTS,
    LOCAL,
    STUDENT,
    TEACHER,
    TRANSFER,
    assert_close,
    assert_same_bits,
    batch,
    block_stage,
    compiled_gradients,
    cut_block,
    gradients,
    local_stage,
    network,
    run_stage,
    step_of,
)
from tests.training.quick import quick_jit

FED = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True, feeds=True)
GATED = LocalProgram(TRANSFER, COEFFICIENTS, blocks_only=True, gated=True)
SPANS = ((0, 2), (0, 4), (2, 4))


def stopped_walk(pair, fed=()):
    """(gradients of the stack, means) by reverse mode through both networks, stopped at every block's border.

    A plain loop over blocks; those in `fed` take what enters the teacher's block.
    """

    @quick_jit
    def differentiated(student, teacher, examples):
        counts = transfer_counts(examples["attention_mask"], TEACHER.num_attention_heads, tf1_compat=pair.tf1_compat)
        mask = block_mask(examples)
        statistics = layer_statistics(pair.teacher, teacher["encoder"], examples) if pair.tf1_compat else None
        states, scores = [embed(pair.teacher, teacher["encoder"]["embeddings"], examples)], []
        for index in range(pair.teacher.num_hidden_layers):
            out = run_block(pair.teacher, cut_block(teacher, index), states[-1], mask, scores=True)
            states.append(out.hidden)
            scores.append(out)

        def loss(stack):
            hidden, total, means = embed(pair.student, student["encoder"]["embeddings"], examples), 0.0, []
            for index, mapped in enumerate(pair.layer_map):
                hidden = jax.lax.stop_gradient(states[mapped] if index in fed else hidden)
                block = jax.tree.map(lambda leaf: leaf[index], stack)  # noqa: B023
                out = run_block(pair.student, block, hidden, mask, scores=True)
                settings = {"teacher_statistics": statistics, "tf1_compat": pair.tf1_compat}
                sums = transfer_sums(scores[mapped], out, examples["attention_mask"], **settings)
                total += weighted_total(sums, counts, COEFFICIENTS)
                means.append({name: term_mean(value, counts[name]) for name, value in sums.items()})
                hidden = out.hidden
            return total, jax.tree.map(lambda *rows: jnp.stack(rows), *means)

        return jax.grad(loss, has_aux=True)(student["encoder"]["layers"])

    return differentiated(network(pair.student, 2), network(pair.teacher, 1), batch())


SHALLOW = STUDENT.replace(num_hidden_layers=2)
PAIRS = {
    "equal": Pair(TEACHER, STUDENT, (0, 1, 2)),
    "tf1": Pair(TEACHER, STUDENT, (0, 1, 2), tf1_compat=True),
    "shallower": Pair(TEACHER, SHALLOW, (0, 2)),
    "skips the first": Pair(TEACHER, SHALLOW, (1, 2)),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_gradients_are_those_of_the_walk_in_common_stopped_at_every_border(pair):
    program = LocalProgram(Transfer(pair, COEFFICIENTS), COEFFICIENTS, blocks_only=True)
    stage = local_stage(blocks=pair.student.num_hidden_layers)
    grads, means = gradients(program, stage, student=pair.student)
    expected, expected_means = stopped_walk(pair)
    for block in range(pair.student.num_hidden_layers):
        assert_close(cut_block(grads, block), jax.tree.map(lambda leaf: leaf[block], expected))  # noqa: B023
    assert_close(means, expected_means)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_block_that_learns_alone_does_what_it_does_in_progressive_transfer(block):
    rates = tuple(3.0 * (index == block) for index in range(BLOCKS))
    grads, means = gradients(GATED, local_stage(block_rates=rates))
    expected, expected_means = gradients(BLOCK, block_stage(block))
    assert_close(cut_block(grads, block), expected)
    assert_close({name: value[block] for name, value in means.items()}, expected_means)
    others = [index for index in range(BLOCKS) if index != block]
    assert not any(leaf[jnp.array(others)].any() for leaf in jax.tree.leaves(grads))


def test_a_block_learns_as_a_progressive_stage_does_and_is_clipped_by_its_own_norm():
    params, plan = network(STUDENT, 2), Plan((block_stage(0),))
    together, _, metrics = run_stage(LOCAL, Plan((local_stage(),)), 0, params)
    alone, _, expected = run_stage(BLOCK, plan, 0, params)
    # Block 0 has the same inputs in both; the others' gradients are large enough to clip it if they counted.
    assert_close(cut_block(together, 0), cut_block(alone, 0))
    for found, reference in zip(metrics, expected, strict=True):
        assert found["grad_norm"].shape == (BLOCKS,)
        assert_close(found["grad_norm"][0], reference["grad_norm"])
    rest = {name: value for name, value in params.items() if name != "encoder"}
    assert_same_bits({name: together[name] for name in rest}, rest)
    assert_same_bits(together["encoder"]["embeddings"], params["encoder"]["embeddings"])


def test_a_block_outside_its_span_keeps_every_bit_and_one_program_serves_all_steps():
    params = network(STUDENT, 2)
    stages = [local_stage(steps=4, background=False, block_spans=spans) for spans in (SPANS, (*SPANS[:2], (3, 4)))]
    updated, state, metrics = run_stage(GATED, Plan((stages[0],)), 0, params)
    norms = np.array([each["grad_norm"] for each in metrics]) > 0
    np.testing.assert_array_equal(norms.T, [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
    later, _, _ = run_stage(GATED, Plan((stages[1],)), 0, params)
    assert_same_bits(cut_block(later, 0), cut_block(updated, 0))
    changed = map(np.array_equal, *map(jax.tree.leaves, (cut_block(later, 2), cut_block(updated, 2))))
    assert not all(changed)
    assert not any(leaf[0].any() for leaf in jax.tree.leaves(state.opt_state[1].mu))
    assert step_of(GATED)._cache_size() == 1


def test_the_rate_of_each_block_falls_on_a_straight_line_to_the_end_of_its_own_span():
    spans, steps = ((0, 2), (0, 6), (3, 5)), range(6)
    stage = local_stage(steps=6, block_spans=spans, block_rates=(1.0, 2.0, 4.0), block_end_ratio=0.25)
    control = control_at(Plan((local_stage(), stage)), 1)
    found = [at_step(control, jnp.int32(3 + step), jax.random.key(0)).block_rates for step in steps]
    expected = np.zeros((6, 3))
    for block, ((first, stop), rate) in enumerate(zip(spans, stage.block_rates, strict=True)):
        expected[first:stop, block] = rate * np.linspace(1.0, 0.25, stop - first + 1)[:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    steady = control_at(Plan((dataclasses.replace(stage, block_end_ratio=1.0),)), 0)
    assert at_step(steady, jnp.int32(4), jax.random.key(0)).block_rates.tolist() == [0.0, 2.0, 4.0]


def test_a_fed_block_takes_what_enters_the_teachers_and_the_first_its_own_embeddings():
    stage = local_stage(inputs="teacher")
    trained, rest = FED.cut(network(STUDENT, 2), stage.top)
    control = at_step(control_at(Plan((stage,)), 0), jnp.int32(0), jax.random.key(0))
    assert control.fed.all()
    grads, means = compiled_gradients(FED, 1)(trained, rest, network(TEACHER, 1), batch(), control)
    expected, expected_means = stopped_walk(TRANSFER.pair, fed=(1, 2))
    assert_close(grads["encoder"]["layers"], expected)
    assert_close(means, expected_means)


def test_the_fed_share_falls_and_is_a_function_of_the_step():
    blocks, steps = 200, 5
    stage = local_stage(blocks=blocks, steps=steps, inputs="teacher", fed=(1.0, 0.0))
    control = control_at(Plan((local_stage(), stage)), 1)

    @functools.partial(jax.vmap, in_axes=(0, None))
    def fed(step, seed):
        return at_step(control, step, jax.random.fold_in(jax.random.key(seed), step)).fed

    found = fed(jnp.arange(3, 3 + steps), 0)
    np.testing.assert_allclose(found.mean(1), [1.0, 0.75, 0.5, 0.25, 0.0], atol=0.12)
    np.testing.assert_array_equal(found, fed(jnp.arange(3, 3 + steps), 0))
    assert (found != fed(jnp.arange(3, 3 + steps), 1)).any()


def test_students_feed_themselves_unless_the_stage_says_otherwise():
    assert not at_step(control_at(Plan((local_stage(),)), 0), jnp.int32(0), jax.random.key(0)).fed.any()
