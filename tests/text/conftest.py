import functools

import numpy as np
import pytest

from mobilebert_jax.text.tokenizer import KINDS, train_tokenizer

WORDS = (
    "the cat sat on a mat while dogs were running through green fields and birds sang loudly in tall trees near rivers "
    "that flow slowly towards distant seas where sailors mend nets under bright morning light"
).split()


@pytest.fixture(scope="session")
def documents():
    """Thirty documents of one to six sentences in one to three paragraphs, no two alike."""
    rng = np.random.default_rng(0)

    def sentence():
        return " ".join(rng.choice(WORDS, rng.integers(3, 12))).capitalize() + "."

    def paragraph():
        return " ".join(sentence() for _ in range(rng.integers(1, 3)))

    return ["\n".join(paragraph() for _ in range(rng.integers(1, 4))) for _ in range(30)]


@pytest.fixture(scope="session")
def tokenizer(documents):
    return train_tokenizer(documents, vocab_size=200)


@pytest.fixture(scope="session")
def trained(documents):
    """(kind, lowercase) -> a tokenizer of so many pieces, each trained once."""
    sizes = {"wordpiece": 200, "unigram": 60, "bpe": 120}
    return functools.cache(lambda kind, lowercase=True: train_tokenizer(documents, sizes[kind], lowercase, kind))


@pytest.fixture(scope="session", params=KINDS)
def each_kind(request, trained):
    """A tokenizer of every kind."""
    return trained(request.param)
