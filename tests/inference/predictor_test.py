import jax.numpy as jnp
import numpy as np

from mobilebert_jax.inference.predictor import make_predictor, predict_windows
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
    start, end = predict_windows(predict, windows, 3, finished.append)
    assert shapes == [dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (3, 4))] * 3
    assert start.dtype == end.dtype == np.float32
    np.testing.assert_array_equal(start, windows.input_ids * 2)
    np.testing.assert_array_equal(end, windows.input_ids * 3)
    assert finished == [3, 6, 7]


def test_no_windows_call_nothing():
    start, end = predict_windows(lambda batch: 1 / 0, numbered_windows(0), 3)
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
    predict = make_predictor(model, {"scale": jnp.float32(0.5)})
    windows = numbered_windows(5)
    start, end = predict_windows(predict, windows, 2)
    np.testing.assert_allclose(start, windows.input_ids * 0.5)
    np.testing.assert_allclose(end, windows.input_ids * 0.5)
    assert model.traced == 1
