import threading

import jax
import numpy as np

from mobilebert_jax.training.feed import feed


def make_batch(step):
    mask = np.ones((4, 6), np.int32)
    mask[0, step:] = 0
    return {"input_ids": np.full((4, 6), step, np.int32), "attention_mask": mask}


def test_batches_come_in_order_on_the_device_with_their_counts():
    for step, fed in enumerate(feed(make_batch)(1, 4), start=1):
        assert all(isinstance(value, jax.Array) for value in fed.batch.values())
        assert (np.asarray(fed.batch["input_ids"]) == step).all()
        assert (fed.examples, fed.tokens) == (4, 18 + step)


def test_batches_are_placed_ahead_in_another_thread():
    placed = {}

    def place(batch):
        placed[int(batch["input_ids"][0, 0])] = threading.current_thread()
        second.set() if len(placed) > 1 else None
        return batch

    second = threading.Event()
    batches = feed(make_batch, place)(0, 5)
    next(batches)
    assert second.wait(20), "the next one is on its way before it is asked for"
    assert threading.main_thread() not in placed.values()
    batches.close()
