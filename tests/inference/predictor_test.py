import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.inference.predictor import predict_windows, span_forward
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.text.lengths import bucket_of, window_buckets
from mobilebert_jax.text.windows import Windows
from mobilebert_jax.utils.types import SpanOutput


def numbered_windows(count, tokens=4):
    ids = np.arange(count * tokens, dtype=np.int32).reshape(count, tokens)
    return Windows(
        ids, np.ones_like(ids), np.zeros_like(ids), np.arange(count, dtype=np.int32), ids, ids, ids > 0, ids > 0
    )


def test_logits_come_back_in_order_and_every_batch_has_one_shape():
    shapes, finished = [], []

    def predict(batch):
        shapes.append({name: value.shape for name, value in batch.items()})
        return batch["input_ids"] * 2.0, batch["input_ids"] * 3.0

    windows = numbered_windows(7)
    start, end = predict_windows(predict, windows, np.array([4]), 3, finished.append)
    assert shapes == [dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (3, 4))] * 3
    assert start.dtype == end.dtype == np.float32
    np.testing.assert_array_equal(start, windows.input_ids * 2)
    np.testing.assert_array_equal(end, windows.input_ids * 3)
    assert finished == [3, 6, 7]


def test_no_windows_call_nothing():
    start, end = predict_windows(lambda batch: 1 / 0, numbered_windows(0), np.array([4]), 3)
    assert start.shape == end.shape == (0, 4)


class CountingModel:
    """A model of one scale that counts how often it is traced."""

    def __init__(self):
        self.traced = 0

    def apply(self, variables, input_ids, attention_mask, token_type_ids):
        self.traced += 1
        logits = variables["params"]["scale"] * input_ids * attention_mask
        return SpanOutput(encoder=None, start_logits=logits, end_logits=logits + token_type_ids)


def test_a_predictor_is_compiled_once_for_its_shape():
    model = CountingModel()
    predict = functools.partial(span_forward(model), {"scale": jnp.float32(0.5)})
    windows = numbered_windows(5)
    start, end = predict_windows(predict, windows, np.array([4]), 2)
    np.testing.assert_allclose(start, windows.input_ids * 0.5)
    np.testing.assert_allclose(end, windows.input_ids * 0.5)
    assert model.traced == 1


LENGTH = 64


def windows_of_every_length():
    """One window of each length from 3 to `LENGTH`."""
    lengths = np.arange(3, LENGTH + 1)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
    ids = np.random.default_rng(0).integers(1, 67, mask.shape, np.int32) * mask
    types = (np.arange(LENGTH) >= 2).astype(np.int32) * mask
    example = np.arange(len(lengths), dtype=np.int32)
    return Windows(ids, mask, types, example, ids, ids, types == 1, types == 1)


@pytest.mark.parametrize("zero_pad_embeddings", [True, False])
def test_a_window_has_the_same_logits_in_its_bucket_as_at_full_length(zero_pad_embeddings):
    cfg = ModelConfig.test_student(max_position_embeddings=LENGTH, zero_pad_embeddings=zero_pad_embeddings)
    model, rng = build_model(cfg, "qa"), np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3), abstract_params(model))
    shapes = []

    def predict(batch):
        shapes.append(batch["input_ids"].shape)
        return span_forward(model)(params, batch)

    windows = windows_of_every_length()
    whole = predict_windows(predict, windows, window_buckets(LENGTH, False), len(windows))
    short = predict_windows(predict, windows, window_buckets(LENGTH), 8)
    assert len({length for _, length in shapes}) == 6 and {rows for rows, _ in shapes[1:]} == {8}
    real = windows.attention_mask == 1
    for ours, theirs in zip(short, whole, strict=True):
        np.testing.assert_allclose(ours[real], theirs[real], rtol=1e-5, atol=1e-5 * np.abs(theirs[real]).max())
    buckets = window_buckets(LENGTH)
    assert (windows.lengths < buckets[bucket_of(windows.lengths, buckets)])[:-1].all()
