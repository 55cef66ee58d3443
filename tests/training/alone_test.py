"""A network without a walk in common: rates of its parts, counts of its terms, the span loss."""

import dataclasses

import numpy as np
import pytest

from mobilebert_jax.models.heads import MobileBertForQuestionAnswering
from mobilebert_jax.training.alone import AloneProgram, general_multipliers, head_counts
from mobilebert_jax.training.program import control_at
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.utils.trees import named_leaves
from tests.models.model_cases import random_params
from tests.models.reference import dense, encode
from tests.training.cases import (
    ALONE,
    COEFFICIENTS,
    EXAMPLES,
    HEADS,
    LENGTH,
    STUDENT,
    batch,
    compiled_gradients,
    network,
    whole_stage,
)
from tests.training.plain import log_softmax

RATES = dataclasses.replace(
    whole_stage(COEFFICIENTS | HEADS), block_rates=(1.0, 0.0, 3.0), embedding_rate=0.5, head_rate=0.25
)


def test_blocks_embeddings_and_heads_have_rates_of_their_own():
    multipliers = general_multipliers(network(STUDENT, 2), control_at(Plan((RATES,)), 0), 2.0)
    for name, value in named_leaves(multipliers).items():
        expected = 0.5  # pooler and heads
        if name.startswith("encoder/layers/"):
            expected = [2.0, 0.0, 6.0]
        elif name.startswith("encoder/embeddings/"):
            expected = 1.0
        np.testing.assert_array_equal(value, np.float32(expected), err_msg=name)


def test_a_network_that_learns_alike_everywhere_has_no_multipliers():
    control = control_at(Plan((RATES,)), 0)
    assert ALONE.multipliers(network(STUDENT, 2), control, 1.0) is None
    uneven = dataclasses.replace(ALONE, uniform=False)
    assert uneven.multipliers(network(STUDENT, 2), control, 1.0) is not None


@pytest.mark.parametrize("tf1_compat", [False, True])
def test_accuracies_are_counted_without_tf1s_epsilon(tf1_compat):
    counts = head_counts(batch(), tf1_compat)
    predictions = batch()["masked_weights"].sum()
    assert counts["masked_lm_accuracy"] == predictions
    assert (counts["masked_lm"] > predictions) == tf1_compat
    assert counts["next_sentence"] == counts["next_sentence_accuracy"] == EXAMPLES


def test_the_span_loss_equals_numpy():
    rng = np.random.default_rng(0)
    questions = {name: value for name, value in batch().items() if not name.startswith(("masked", "next"))}
    positions = rng.integers(0, LENGTH, (2, EXAMPLES)).astype(np.int32)
    questions |= dict(zip(("start_positions", "end_positions"), positions, strict=True))
    program = AloneProgram(MobileBertForQuestionAnswering(STUDENT), {"span": 1.0}, dropout=False)
    params, control = random_params(program.model, 3), control_at(Plan((whole_stage({"span": 1.0}, weights=()),)), 0)
    _, means = compiled_gradients(program, 1)(params, {}, {}, questions, control)
    inputs = [questions[name] for name in ("input_ids", "attention_mask", "token_type_ids")]
    found = encode(STUDENT, params, *inputs)
    head = {name: np.float64(leaf) for name, leaf in named_leaves(params).items()}
    logits = dense(head, "span", found["last_hidden_state"])
    logs = [log_softmax(np, logits[..., part])[np.arange(EXAMPLES), positions[part]] for part in (0, 1)]
    np.testing.assert_allclose(means["span"], -np.mean(logs), rtol=1e-5)
