"""Small configs of every variant, random parameters that leave nothing at its initial value, and one batch."""

import functools

import numpy as np

from mobilebert_jax.models.config import preset
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.utils.trees import map_named

PLAIN = {
    "vocab_size": 67,
    "embedding_size": 32,
    "hidden_size": 32,
    "intra_bottleneck_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 24,
}
TINY = {"num_feedforward_networks": 2, "use_bottleneck_attention": True, "key_query_shared_bottleneck": False}
VARIANTS = {
    "mobilebert": preset("test_student"),
    "tiny": preset("test_student", **TINY),
    "no_opt": preset("test_student", normalization_type="layer_norm", hidden_act="gelu"),
    "qat": preset("test_student", hidden_act="relu6"),
    "teacher": preset("test_teacher"),
    "bert": preset("bert_base", **PLAIN, hidden_act="gelu_erf", num_feedforward_networks=2),
    "no_trigram": preset("test_student", trigram_input=False, zero_pad_embeddings=True, classifier_activation=True),
}
BATCH, LENGTH = 3, 11


abstract = functools.cache(abstract_params)


def random_params(model, seed=0):
    """Float32 parameters that keep activations near one, but some above relu6's 6, so that every part shows."""
    rng = np.random.default_rng(seed)

    def draw(name, leaf):
        kind = name.rpartition("/")[2]
        if kind == "kernel":
            return rng.normal(0, 0.7 / np.sqrt(leaf.shape[-2]), leaf.shape).astype(np.float32)
        if name.endswith("intermediate/bias"):
            return rng.normal(2, 3, leaf.shape).astype(np.float32)
        return rng.normal(1 if kind == "scale" else 0, 0.3, leaf.shape).astype(np.float32)

    return map_named(draw, abstract(model))


def batch(cfg, seed=0):
    """input_ids, attention_mask, token_type_ids [3, 11]: one full row, one padded, one of two tokens."""
    rng = np.random.default_rng(seed)
    lengths = np.array([LENGTH, 7, 2])
    attention_mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
    input_ids = rng.integers(1, cfg.vocab_size, (BATCH, LENGTH)).astype(np.int32) * attention_mask
    return input_ids, attention_mask, rng.integers(0, 2, (BATCH, LENGTH)).astype(np.int32)


def relative_error(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)
