"""A packed batch has the losses and gradients of its pieces in rows of their own, in every program."""

import functools

import jax
import numpy as np
import pytest

from mobilebert_jax.models.heads import MobileBertForPreTraining
from mobilebert_jax.training.alone import AloneProgram
from mobilebert_jax.training.diagnosis import first_nonfinite_block
from mobilebert_jax.training.joint import PairProgram
from mobilebert_jax.training.transfer import BlockProgram, PrefixProgram, Transfer
from mobilebert_jax.training.walks import Pair
from mobilebert_jax.utils.trees import named_leaves
from tests.training.cases import (
    BLOCKS,
    COEFFICIENTS,
    STUDENT,
    TEACHER,
    assert_close,
    block_stage,
    gradients,
    network,
    whole_stage,
)
from tests.training.packed_cases import PACKED_LENGTH, ROWS, pack, unpacked_batch

# Else the last token of a padded row sees the padding's word vector.
OWN_TEACHER, OWN_STUDENT = (cfg.replace(zero_pad_embeddings=True) for cfg in (TEACHER, STUDENT))
TRANSFER = Transfer(Pair(OWN_TEACHER, OWN_STUDENT, (0, 1, 2)), COEFFICIENTS)
MASKED_LM, DISTILLATION = {"masked_lm": 1.0}, {"masked_lm": 0.5, "distillation": 0.5}
TEACHER_MODEL, STUDENT_MODEL = MobileBertForPreTraining(OWN_TEACHER), MobileBertForPreTraining(OWN_STUDENT)
ALONE = AloneProgram(TEACHER_MODEL, MASKED_LM, dropout=False)
DISTILL = AloneProgram(STUDENT_MODEL, DISTILLATION, TEACHER_MODEL, dropout=False)
PROGRAMS = {
    "teacher": (ALONE, whole_stage(MASKED_LM, weights=())),
    "distill": (DISTILL, whole_stage(DISTILLATION, weights=())),
    "block": (BlockProgram(TRANSFER), block_stage(BLOCKS - 1)),
    "prefix": (PrefixProgram(TRANSFER), block_stage(1, lower=0.3)),
    "pair": (PairProgram(TRANSFER, COEFFICIENTS, blocks_only=True), whole_stage(COEFFICIENTS)),
    "auxiliary": (
        PairProgram(TRANSFER, COEFFICIENTS | DISTILLATION, blocks_only=False),
        whole_stage(COEFFICIENTS | DISTILLATION),
    ),
}
HEADS = ("next_sentence", "encoder/pooler")


def found(name, examples, **settings):
    program, stage = PROGRAMS[name]
    student = OWN_TEACHER if name == "teacher" else OWN_STUDENT
    return gradients(program, stage, student=student, teacher=OWN_TEACHER, examples=examples, **settings)


@functools.cache
def of_pieces_alone(name):
    return found(name, unpacked_batch())


def test_rows_hold_up_to_three_pieces_and_padding():
    packed = pack(unpacked_batch(), ROWS)
    assert packed["segment_ids"].max(axis=1).tolist() == [3, 3, 1, 1]
    assert (packed["attention_mask"].sum(axis=1) < PACKED_LENGTH).all()
    assert packed["attention_mask"].sum() == unpacked_batch()["attention_mask"].sum()


@pytest.mark.parametrize("name", PROGRAMS)
def test_packing_changes_neither_losses_nor_gradients(name):
    grads, means = found(name, pack(unpacked_batch(), ROWS))
    expected_grads, expected_means = of_pieces_alone(name)
    assert all(np.all(value > 0) for term, value in expected_means.items() if term != "masked_lm_accuracy")
    assert_close(means, expected_means)
    assert_close(grads, expected_grads)


def test_microbatches_of_packed_rows_add_up_to_the_same():
    grads, means = found("auxiliary", pack(unpacked_batch(), ROWS), accumulation=4)
    expected_grads, expected_means = of_pieces_alone("auxiliary")
    assert_close(means, expected_means)
    assert_close(grads, expected_grads)


def test_the_borders_matter():
    packed = pack(unpacked_batch(), ROWS)
    del packed["segment_ids"]
    with pytest.raises(AssertionError):
        assert_close(found("block", packed)[0], of_pieces_alone("block")[0], rtol=1e-2)


def test_tf1_compat_agrees_where_there_is_no_padding_to_count():
    examples = {name: values[:6] for name, values in unpacked_batch().items()}
    full = {name: examples[name][:, :8] for name in ("input_ids", "token_type_ids")}
    examples |= full | {"attention_mask": np.ones_like(full["input_ids"])}
    examples["masked_positions"] = examples["masked_positions"] % 8
    transfer = Transfer(Pair(OWN_TEACHER, OWN_STUDENT, (0, 1, 2), tf1_compat=True), COEFFICIENTS)
    program, stage = PrefixProgram(transfer, with_embeddings=True), block_stage(1, lower=0.3)
    networks = {"student": OWN_STUDENT, "teacher": OWN_TEACHER}
    packed = pack(examples, [(0, 1, 2), (3, 4, 5)], length=24)
    grads, means = gradients(program, stage, examples=packed, **networks)
    expected_grads, expected_means = gradients(program, stage, examples=examples, **networks)
    assert_close(means, expected_means)
    assert_close(grads, expected_grads)


@pytest.mark.parametrize("name", ["teacher", "auxiliary"])
def test_without_pairs_nothing_reaches_pooler_and_next_sentence_head(name):
    grads, means = found(name, pack(unpacked_batch(), ROWS))
    unused = {leaf: value for leaf, value in named_leaves(grads).items() if leaf.startswith(HEADS)}
    assert unused and not any(np.any(value) for value in unused.values())
    assert not any("next_sentence" in term for term in means)


def test_a_diagnosis_walks_packed_rows_too():
    packed = jax.tree.map(jax.numpy.asarray, pack(unpacked_batch(), ROWS))
    params = network(OWN_STUDENT, 2)
    assert first_nonfinite_block(OWN_STUDENT, params["encoder"], packed) is None
