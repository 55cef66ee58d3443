"""Walks over a stack, and which teacher block each student block imitates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.training.walks import (
    Pair,
    block_scores,
    default_layer_map,
    embed,
    layer_statistics,
    put,
    run_block,
    take,
    walk,
    walk_storing,
)
from mobilebert_jax.utils.errors import UserError
from tests.models.reference import encode
from tests.training.cases import STUDENT, TEACHER, assert_close, assert_same_bits, batch, cut_block, network
from tests.training.quick import quick_jit

BATCH, PARAMS = batch(), network(STUDENT, 2)
MASK, STACK = BATCH["attention_mask"], PARAMS["encoder"]["layers"]
jit_walk = quick_jit(lambda hidden, start, stop: walk(STUDENT, STACK, hidden, MASK, start, stop))
jit_storing = quick_jit(lambda hidden, stop: walk_storing(STUDENT, STACK, hidden, MASK, stop))


@pytest.fixture(scope="module")
def hidden():
    """What enters each block and leaves the last one, by a plain numpy loop, [L + 1, B, S, H]."""
    return reference(STUDENT)["hidden_states"].astype(np.float32)


def reference(cfg):
    return encode(cfg, network(cfg, 2), *(BATCH[name] for name in ("input_ids", "attention_mask", "token_type_ids")))


def test_embed_gives_what_enters_block_0(hidden):
    assert_close(embed(STUDENT, PARAMS["encoder"]["embeddings"], BATCH), hidden[0])


@pytest.mark.parametrize("start, stop", [(0, 0), (0, 1), (0, 3), (1, 3), (2, 2)])
def test_a_walk_with_traced_bounds_equals_a_loop(hidden, start, stop):
    assert_close(jit_walk(hidden[start], start, stop), hidden[stop])
    assert jit_walk._cache_size() == 1


@pytest.mark.parametrize("stop", [0, 2, 3])
def test_a_storing_walk_keeps_what_entered_each_block_and_zeros_after(hidden, stop):
    last, inputs = jit_storing(hidden[0], stop)
    assert_close(last, hidden[stop])
    assert inputs.shape == (3, *hidden[0].shape) and not inputs[stop:].any()
    assert_close(inputs[:stop], hidden[:stop])


def test_one_block_gives_its_output_and_its_scores(hidden):
    block = cut_block(PARAMS, 1)
    out = run_block(STUDENT, block, hidden[1], MASK, scores=True)
    expected = reference(STUDENT)["attention_scores"][1]
    seen = np.isfinite(expected)
    assert_close(out.hidden, hidden[2])
    assert_close(out.attention_scores[seen], expected[seen])
    assert_same_bits(block_scores(STUDENT, block, hidden[1], MASK), out.attention_scores)
    assert run_block(STUDENT, block, hidden[1], MASK).attention_scores is None


@pytest.mark.parametrize("index", [0, 2])
def test_taking_and_putting_a_block_are_indexing(index):
    block = jax.jit(take)(STACK, index)
    assert_same_bits(block, cut_block(PARAMS, index))
    changed = jax.jit(put)(STACK, jax.tree.map(jnp.negative, block), index)
    for other in range(3):
        expected = jax.tree.map(jnp.negative, block) if other == index else cut_block(PARAMS, other)
        assert_same_bits(cut_block({"encoder": {"layers": changed}}, other), expected)


def test_layer_statistics_are_of_the_embeddings_and_of_every_block():
    means, variances = layer_statistics(TEACHER, network(TEACHER, 2)["encoder"], BATCH)
    expected = reference(TEACHER)["hidden_states"]
    assert_close({"means": means, "variances": variances}, {"means": expected.mean(-1), "variances": expected.var(-1)})


@pytest.mark.parametrize("name, value", [("hidden_size", 64), ("num_attention_heads", 8), ("vocab_size", 99)])
def test_a_pair_that_cannot_be_compared_is_refused(name, value):
    with pytest.raises(UserError) as caught:
        Pair(TEACHER, STUDENT.replace(**{name: value}), (0, 1, 2))
    own = getattr(TEACHER, name)
    assert str(caught.value) == f"student.{name}={value}: must equal the teacher's {own}, their outputs are compared"


@pytest.mark.parametrize("layer_map", [(), (0, 1), (0, 1, 2, 3), (0, 2, 1), (0, 1, 1), (-1, 0, 1), (0, 1, 3)])
def test_a_layer_map_that_does_not_ascend_through_the_teacher_is_refused(layer_map):
    with pytest.raises(UserError, match="3 ascending teacher blocks from 0 to 2 are needed, one for each block"):
        Pair(TEACHER, STUDENT, layer_map)


@pytest.mark.parametrize(
    "teacher, student, expected",
    [
        (24, 6, (3, 7, 11, 15, 19, 23)),
        (24, 24, tuple(range(24))),
        (5, 2, (1, 4)),
        (3, 2, (0, 2)),
        (24, 1, (23,)),
    ],
)
def test_every_student_block_imitates_the_last_of_an_equal_share(teacher, student, expected):
    configs = ModelConfig.test_teacher(num_hidden_layers=teacher), ModelConfig.test_student(num_hidden_layers=student)
    assert default_layer_map(*configs) == expected
    Pair(*configs, expected)


def test_a_student_deeper_than_its_teacher_is_refused():
    configs = TEACHER.replace(num_hidden_layers=2), STUDENT
    with pytest.raises(UserError, match="3 ascending teacher blocks from 0 to 1"):
        Pair(*configs, default_layer_map(*configs))
