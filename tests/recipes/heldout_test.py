import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.recipes.heldout import pretraining_evaluation
from mobilebert_jax.utils.types import EncoderOutput, PretrainingOutput

WORDS, POSITIONS = 7, 3


class Bigrams:
    """Stands in for a model: the logits are a table's rows, by the token that is read."""

    def apply(self, variables, input_ids, attention_mask, token_type_ids, masked_positions):
        table = variables["params"]
        read = jnp.take_along_axis(input_ids, masked_positions, axis=1)
        return PretrainingOutput(EncoderOutput(None, None), table["words"][read], table["pairs"][input_ids[:, 0]])


def make_batch(index):
    """Batches of different sizes with different numbers of predictions."""
    rng = np.random.default_rng(index)
    size = 2 + index
    return {
        "input_ids": rng.integers(0, WORDS, (size, 5)),
        "attention_mask": np.ones((size, 5), np.int32),
        "token_type_ids": np.zeros((size, 5), np.int32),
        "masked_positions": rng.integers(0, 5, (size, POSITIONS)),
        "masked_ids": rng.integers(0, WORDS, (size, POSITIONS)),
        "masked_weights": (rng.random((size, POSITIONS)) < 0.6).astype(np.float32),
        "next_sentence_labels": rng.integers(0, 2, size),
    }


def negative_log_likelihood(logits, labels):
    logits = np.asarray(logits, np.float64)
    chosen = np.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return np.log(np.exp(logits).sum(-1)) - chosen


def test_held_out_figures_are_means_over_all_batches_together():
    rng = np.random.default_rng(9)
    params = {
        "words": jnp.asarray(rng.normal(size=(WORDS, WORDS)), jnp.float32),
        "pairs": jnp.asarray(rng.normal(size=(WORDS, 2)), jnp.float32),
    }
    figures = pretraining_evaluation(Bigrams(), make_batch, 3)(params)

    losses, weights, right, pairs, pairs_right = [], [], [], [], []
    for batch in map(make_batch, range(3)):
        read = np.take_along_axis(batch["input_ids"], batch["masked_positions"], axis=1)
        losses.append(negative_log_likelihood(params["words"][read], batch["masked_ids"]).ravel())
        right.append((np.asarray(params["words"])[read].argmax(-1) == batch["masked_ids"]).ravel())
        weights.append(batch["masked_weights"].ravel())
        logits = params["pairs"][batch["input_ids"][:, 0]]
        pairs.append(negative_log_likelihood(logits, batch["next_sentence_labels"]))
        pairs_right.append(np.asarray(logits).argmax(-1) == batch["next_sentence_labels"])
    weights = np.concatenate(weights)
    expected = {
        "masked_lm": (np.concatenate(losses) * weights).sum() / weights.sum(),
        "masked_lm_accuracy": (np.concatenate(right) * weights).sum() / weights.sum(),
        "next_sentence": np.concatenate(pairs).mean(),
        "next_sentence_accuracy": np.concatenate(pairs_right).mean(),
    }
    assert figures == pytest.approx(expected, rel=1e-5)
