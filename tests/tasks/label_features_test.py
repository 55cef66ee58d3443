import numpy as np
import pytest

from mobilebert_jax.tasks.epochs import SORTED_STEPS, Epochs
from mobilebert_jax.tasks.examples import Examples
from mobilebert_jax.tasks.label_features import LabelFeatures
from mobilebert_jax.text.tokenizer import train_tokenizer

COUNT, BATCH = 90, 4


@pytest.fixture(scope="module")
def features():
    """Ninety examples, told apart by their labels, most of them short; with and without buckets."""
    tokenizer = train_tokenizer(["cat dog"], 20)
    lengths = np.random.default_rng(0).geometric(0.15, COUNT)
    texts = tuple(" ".join(["cat"] * int(length)) for length in lengths)
    examples = Examples("here", tuple(map(str, range(COUNT))), texts, None, np.arange(COUNT, dtype=np.int32))
    return {on: LabelFeatures.build(tokenizer, examples, 64, on) for on in (True, False)}


def seen(features, steps, seed=0):
    return [features.batch(step, seed, BATCH) for step in steps]


@pytest.mark.parametrize("bucketing", [True, False])
def test_every_group_of_steps_sees_what_the_epochs_hold(features, bucketing):
    steps = 9 * SORTED_STEPS  # twenty whole epochs, nine groups
    labels = np.concatenate([batch["labels"] for batch in seen(features[bucketing], range(steps))])
    assert (np.bincount(labels, minlength=COUNT) == 20).all()


def test_both_orders_have_the_same_examples_in_every_group(features):
    for group in range(3):
        steps = range(group * SORTED_STEPS, (group + 1) * SORTED_STEPS)
        labels = [np.sort(np.concatenate([b["labels"] for b in seen(features[on], steps)])) for on in (True, False)]
        np.testing.assert_array_equal(*labels)


def test_a_batch_is_a_function_of_seed_and_step(features):
    epochs = features[True].epochs
    again = LabelFeatures(features[True].pairs, features[True].labels, Epochs(epochs.lengths, epochs.buckets))
    for step in (77, 3, 120):
        first, second, other = (
            own.batch(step, seed, BATCH) for own, seed in ((features[True], 0), (again, 0), (again, 1))
        )
        assert first.keys() == {"input_ids", "attention_mask", "token_type_ids", "labels"}
        assert all(np.array_equal(first[name], second[name]) for name in first)
        assert not np.array_equal(first["labels"], other["labels"])


def test_short_batches_are_short_and_rarely_mixed(features):
    batches = seen(features[True], range(SORTED_STEPS))
    lengths = [batch["input_ids"].shape[1] for batch in batches]
    assert set(lengths) <= {8, 16, 32, 48, 64} and len(set(lengths)) > 3
    for batch, length in zip(batches, lengths, strict=True):
        longest = int(batch["attention_mask"].sum(axis=1).max())
        assert (longest < length or length == 64) and longest >= {8: 0, 48: 32, 64: 48}.get(length, length // 2)
    assert sum(lengths) < 0.5 * 64 * SORTED_STEPS
    assert {batch["input_ids"].shape for batch in seen(features[False], range(5))} == {(BATCH, 64)}
    assert lengths != sorted(lengths)
