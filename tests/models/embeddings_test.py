"""Trigrams, and what padding does to the tokens beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.embeddings import trigrams
from mobilebert_jax.models.encoder import MobileBert
from tests.models.model_cases import random_params, relative_error

IDS = np.random.default_rng(1).integers(1, 67, (2, 7)).astype(np.int32)


def test_trigrams_are_next_current_previous_with_zeros_beyond_the_ends():
    words = jnp.arange(1.0, 7.0).reshape(1, 3, 2)
    expected = [[[3, 4, 1, 2, 0, 0], [5, 6, 3, 4, 1, 2], [0, 0, 5, 6, 3, 4]]]
    np.testing.assert_array_equal(trigrams(words, jnp.ones((1, 3))), expected)


def test_the_trigram_of_one_token_has_no_neighbours():
    np.testing.assert_array_equal(trigrams(jnp.ones((1, 1, 2)), jnp.ones((1, 1))), [[[0, 0, 1, 1, 0, 0]]])


def hidden_states(cfg, params, padding):
    """All hidden states of the 7 real tokens, [L + 1, 2, 7, H], with `padding` more tokens behind them."""
    ids = np.pad(IDS, ((0, 0), (0, padding)))
    mask = np.pad(np.ones_like(IDS), ((0, 0), (0, padding)))
    apply = jax.jit(lambda params: MobileBert(cfg).apply({"params": params}, ids, mask, output_hidden_states=True))
    return np.asarray(apply(params).hidden_states[:, :, : IDS.shape[1]])


@pytest.mark.parametrize("change", [{}, {"trigram_input": False}], ids=["trigram", "no_trigram"])
def test_zero_pad_embeddings_make_real_tokens_independent_of_the_padding(change):
    cfg = preset("test_student", num_hidden_layers=2, zero_pad_embeddings=True, **change)
    params = random_params(MobileBert(cfg))
    assert relative_error(hidden_states(cfg, params, 6), hidden_states(cfg, params, 0)) < 1e-5


def test_without_zero_pad_embeddings_the_last_token_sees_the_pad_row():
    cfg = preset("test_student", num_hidden_layers=2)
    params = random_params(MobileBert(cfg))
    alone, padded = hidden_states(cfg, params, 0), hidden_states(cfg, params, 3)
    assert relative_error(padded[0, :, :-1], alone[0, :, :-1]) < 1e-6, "the embeddings of the others are the same"
    assert relative_error(padded[0, :, -1], alone[0, :, -1]) > 1e-2
    assert relative_error(padded[-1], alone[-1]) > 1e-3
    table = params["embeddings"]["word_embeddings"]["embedding"]
    table[0] = 0.0
    assert relative_error(hidden_states(cfg, params, 3), alone) < 1e-5, "only the pad row made the difference"


def test_a_mask_of_queries_and_keys_zeroes_the_same_padding():
    """With a mask [B, S, S] a token is padding where it does not see itself."""
    cfg = preset("test_student", num_hidden_layers=1, zero_pad_embeddings=True)
    params = random_params(MobileBert(cfg))
    flat = np.ones_like(IDS)
    flat[1, 4:] = 0
    square = np.repeat(flat[:, None, :], IDS.shape[1], axis=1)
    apply = jax.jit(lambda mask: MobileBert(cfg).apply({"params": params}, IDS, mask).last_hidden_state)
    assert relative_error(apply(square), apply(flat)) < 1e-6
