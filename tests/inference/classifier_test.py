import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mobilebert_jax as mb
from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError

TEXTS = ["the cat", "dogs were running through green fields", "a mat " * 30, ""]
OTHERS = ["sat", "birds", "on", "tall trees"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([" ".join(TEXTS + OTHERS)], 80)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """(labels, zero_pad_embeddings) -> a model folder of random weights."""
    root = tmp_path_factory.mktemp("models")

    def make(*labels, zero_pad_embeddings=True):
        path = root / "-".join([*labels, str(zero_pad_embeddings)])
        if not path.exists():
            cfg = ModelConfig.test_student(vocab_size=tokenizer.vocab_size, zero_pad_embeddings=zero_pad_embeddings)
            model = build_model(cfg, "classification", num_labels=len(labels) or 1, label_names=labels)
            rng = np.random.default_rng(0)
            params = jax.tree.map(
                lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3, jnp.float32), abstract_params(model)
            )
            save_pretrained(path, model, params, tokenizer)
        return path

    return make


def test_a_text_s_class_is_its_own_whatever_stands_beside_it(folder):
    classifier = mb.Classifier.from_pretrained(folder("good", "bad", "so so"), batch_size=3, sequence_length=16)
    together = classifier.predict(TEXTS, OTHERS)
    for text, other, found in zip(TEXTS, OTHERS, together, strict=True):
        assert found.label == max(found.probabilities, key=found.probabilities.get)
        assert found.probabilities.keys() == {"good", "bad", "so so"}
        assert found.probability == found.probabilities[found.label]
        assert sum(found.probabilities.values()) == pytest.approx(1)
        (alone,) = classifier.predict([text], [other])
        assert alone.probabilities == pytest.approx(found.probabilities, rel=1e-5)
    assert classifier.predict([]) == []

    whole = dataclasses.replace(classifier, bucketing=False).logits(TEXTS, OTHERS)
    short = classifier.logits(TEXTS, OTHERS)
    np.testing.assert_allclose(short, whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(softmax(whole).sum(axis=1), 1)


def test_an_imported_model_s_logits_do_not_depend_on_the_length_it_is_padded_to(folder):
    path = folder("a", "b", zero_pad_embeddings=False)
    short, whole = (mb.Classifier.from_pretrained(path, bucketing=on, sequence_length=24) for on in (True, False))
    texts = [" ".join(["cat"] * count) for count in range(23)]
    np.testing.assert_allclose(short.logits(texts), whole.logits(texts), rtol=1e-4, atol=1e-5)


def test_fewer_bits_change_probabilities_a_little(folder):
    exact = mb.Classifier.from_pretrained(folder("good", "bad", "so so"), sequence_length=16).logits(TEXTS, OTHERS)
    for precision, most in (("bfloat16", 0.05), ("int8", 0.1)):
        path = folder("good", "bad", "so so")
        found = mb.Classifier.from_pretrained(path, precision=precision, sequence_length=16).logits(TEXTS, OTHERS)
        assert 1e-4 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < most, precision
    with pytest.raises(UserError, match="precision 'int4'"):
        mb.Classifier.from_pretrained(folder("a", "b"), precision="int4", sequence_length=16)


def test_numbers_are_no_classes(folder):
    numbers, classes = (
        mb.Classifier.from_pretrained(folder(*labels), sequence_length=16) for labels in ((), ("a", "b"))
    )
    values = numbers.values(TEXTS)
    assert len(values) == len(TEXTS) and all(isinstance(value, float) for value in values)
    with pytest.raises(UserError, match="gives numbers, not classes"):
        numbers.predict(TEXTS)
    with pytest.raises(UserError, match=r"gives classes \(a, b\), not numbers"):
        classes.values(TEXTS)


def test_what_cannot_be_classified_is_refused(folder, tokenizer, tmp_path):
    classifier = mb.Classifier.from_pretrained(folder("a", "b"), sequence_length=16)
    with pytest.raises(UserError, match="a list of texts is needed"):
        classifier.predict("a single text")
    with pytest.raises(UserError, match="4 texts and 1 pairs"):
        classifier.predict(TEXTS, ["one"])
    with pytest.raises(UserError, match=r"sequence_length 25: the model in .* has 24 positions"):
        mb.Classifier.from_pretrained(folder("a", "b"), sequence_length=25)
    with pytest.raises(UserError, match="batch_size is 0"):
        mb.Classifier.from_pretrained(folder("a", "b"), batch_size=0)
    model = build_model(ModelConfig.test_student(vocab_size=tokenizer.vocab_size), "qa")
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), abstract_params(model))
    save_pretrained(tmp_path / "qa", model, params, tokenizer)
    with pytest.raises(UserError, match="no classes in it; `mobilebert finetune"):
        mb.Classifier.from_pretrained(tmp_path / "qa")
