"""Rows that hold several pieces of text: each is encoded as in a row of its own, and no layer stores a large mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.masks import Packed, key_mask, make_mask, neighbours, position_ids, token_mask
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import VARIANTS, random_params, relative_error
from tests.training.quick import quick_jit

LENGTH = 12
# Piece lengths of each row; what is left is padding.
ROWS = [[5, 4, 3], [12], [1, 1, 7], [2, 6]]


def segment_ids(rows, length=LENGTH):
    ids = [np.repeat(np.arange(len(row) + 1), [0, *row]) for row in rows]
    return np.stack([np.pad(row, (0, length - len(row))) for row in ids]).astype(np.int32)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=3, max_size=3))
def test_what_is_derived_from_segment_ids_equals_a_loop_over_tokens(rows):
    length = 20
    ids = segment_ids(rows, length)
    mask = make_mask(jnp.asarray(ids > 0, jnp.int32), jnp.asarray(ids))
    words = np.random.default_rng(0).normal(size=(*ids.shape, 2)).astype(np.float32)
    following, previous = neighbours(jnp.asarray(words), mask)
    seen, positions = np.asarray(key_mask(mask)), np.asarray(position_ids(mask, length))
    np.testing.assert_array_equal(token_mask(mask), ids > 0)
    for row, own in enumerate(ids):
        for token in range(length):
            same = own == own[token]
            np.testing.assert_array_equal(seen[row, 0, token], same & (own > 0))
            assert positions[row, token] == token - same.argmax()
            for found, other in ((following, token + 1), (previous, token - 1)):
                inside = 0 <= other < length and own[other] == own[token]
                np.testing.assert_array_equal(found[row, token], words[row, other] if inside else 0)


def test_a_masked_token_inside_a_piece_is_no_key_but_keeps_its_place():
    attention_mask = jnp.asarray([[1, 1, 0, 1, 1, 1]])
    mask = make_mask(attention_mask, jnp.asarray([[1, 1, 1, 1, 2, 2]]))
    np.testing.assert_array_equal(position_ids(mask, 6), [[0, 1, 2, 3, 0, 1]])
    np.testing.assert_array_equal(key_mask(mask)[0, 0, :, 2], [False] * 6)
    np.testing.assert_array_equal(token_mask(mask), attention_mask > 0)


def rows_of_their_own(values, rows):
    """Every piece of `rows` at the start of a row of zeros, [pieces, S]."""
    made = np.zeros((sum(map(len, rows)), LENGTH), values.dtype)
    for number, (row, inside) in enumerate(places(rows)):
        made[number, : inside.stop - inside.start] = values[row, inside]
    return made


def places(rows):
    """(row, slice) of every piece."""
    for row, pieces in enumerate(rows):
        ends = np.cumsum([0, *pieces])
        yield from ((row, slice(*ends[piece : piece + 2])) for piece in range(len(pieces)))


@pytest.mark.parametrize("variant", ["mobilebert", "bert", "no_trigram"])
def test_a_piece_is_encoded_as_in_a_row_of_its_own(variant):
    cfg = VARIANTS[variant].replace(zero_pad_embeddings=True)
    model, ids = MobileBert(cfg), segment_ids(ROWS)
    tokens = np.random.default_rng(2).integers(1, cfg.vocab_size, ids.shape).astype(np.int32)

    @quick_jit
    def apply(params, tokens, attention_mask, segment_ids=None):
        flags = {"output_hidden_states": True, "output_attention_probs": True}
        return model.apply({"params": params}, tokens, attention_mask, segment_ids=segment_ids, **flags)

    params = random_params(model)
    out = apply(params, tokens, (ids > 0).astype(np.int32), ids)
    alone = apply(params, rows_of_their_own(tokens, ROWS), rows_of_their_own((ids > 0).astype(np.int32), ROWS))
    for number, (row, inside) in enumerate(places(ROWS)):
        own = slice(0, inside.stop - inside.start)
        hidden, probs = alone.hidden_states[:, number, own], alone.attention_probs[:, number, :, own, own]
        assert relative_error(out.hidden_states[:, row, inside], hidden) < 1e-5
        assert relative_error(out.attention_probs[:, row, :, inside, inside], probs) < 1e-5
    assert np.isfinite(out.last_hidden_state).all()


def test_models_with_heads_take_segment_ids_too():
    model = build_model(VARIANTS["mobilebert"].replace(num_hidden_layers=1), "masked_lm")
    params, tokens = random_params(model), np.arange(1, LENGTH + 1)[None]
    apply = quick_jit(lambda ids: model.apply({"params": params}, tokens, segment_ids=ids).prediction_logits)
    one, two = apply(segment_ids([[LENGTH]])), apply(segment_ids([[5, 7]]))
    assert one.shape == two.shape and relative_error(two, one) > 1e-2


def test_rows_of_one_piece_without_segment_ids_are_no_packed_rows():
    mask = jnp.ones((2, 3), jnp.int32)
    assert make_mask(mask) is mask and isinstance(make_mask(mask, mask), Packed)


def test_segment_ids_with_a_mask_of_pairs_are_refused():
    with pytest.raises(UserError, match=r"attention_mask \[1, 3, 3\] with segment_ids"):
        make_mask(jnp.ones((1, 3, 3)), jnp.ones((1, 3), jnp.int32))


def values_of(jaxpr):
    """(shape, dtype) of everything a program computes, inner programs included."""
    for equation in jaxpr.eqns:
        yield from ((var.aval.shape, str(var.aval.dtype)) for var in equation.outvars)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from values_of(inner)


@pytest.mark.parametrize("remat", ["none", "full", "named"])
def test_no_layer_stores_a_mask_of_pairs(remat):
    cfg = preset("test_student", num_hidden_layers=5, remat=remat)
    model = MobileBert(cfg)
    params, ids = random_params(model), segment_ids(ROWS)

    def loss(params, ids):
        return model.apply({"params": params}, ids, ids > 0, segment_ids=ids).last_hidden_state.sum()

    values = set(values_of(jax.make_jaxpr(jax.grad(loss))(params, ids).jaxpr))
    maps = [(len(ROWS), heads, LENGTH, LENGTH) for heads in (1, cfg.num_attention_heads)]
    assert (maps[1], "bool") in values, "the mask is made"
    assert not any(((5, *shape), "bool") in values for shape in maps), "but not kept"
    stored = ((5, *maps[1]), "float32") in values
    assert stored == (remat == "none"), "and neither are attention maps where blocks are made again"
