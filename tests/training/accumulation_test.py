"""One accumulation step equals four, with all terms on and uneven masks."""

import numpy as np
import pytest

from tests.training.cases import (
    ALONE,
    BLOCK,
    COEFFICIENTS,
    EVERYTHING,
    HEADS,
    LOCAL,
    assert_close,
    batch,
    block_stage,
    gradients,
    local_stage,
    whole_stage,
)

CASES = {
    "alone": (ALONE, whole_stage(HEADS, weights=())),
    "pair": (EVERYTHING, whole_stage(COEFFICIENTS | HEADS)),
    "block": (BLOCK, block_stage(1)),
    "local": (LOCAL, local_stage()),
}


def test_the_batch_is_uneven_enough_to_tell_means_of_means_apart():
    for name in ("attention_mask", "masked_weights"):
        shares = batch()[name].sum(1).reshape(-1, 4).sum(0)
        assert np.ptp(shares) > 2, name


@pytest.mark.parametrize("program, stage", CASES.values(), ids=CASES)
def test_one_step_equals_four_microbatches(program, stage):
    grads, means = gradients(program, stage)
    accumulated, accumulated_means = gradients(program, stage, accumulation=4)
    assert_close(accumulated, grads)
    assert_close(accumulated_means, means)
