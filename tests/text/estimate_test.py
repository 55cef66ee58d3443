import functools

import pytest

from mobilebert_jax.text import estimate as module
from mobilebert_jax.text.estimate import estimate
from mobilebert_jax.text.preparation import Preparation
from mobilebert_jax.text.text_corpus import open_text
from tests.text.stores import make_stores


@pytest.fixture
def corpus(tmp_path, documents):
    (tmp_path / "corpus.txt").write_text("\n\n".join(documents * 200))
    return open_text("corpus", str(tmp_path / "corpus.txt"))


def estimated(tmp_path, corpus, tokenizer):
    seen = []

    def tokenizer_of(sample):
        seen.extend(sample)
        return tokenizer

    preparation_of = functools.partial(Preparation, heldout_fraction=0.3)
    found = estimate(tmp_path / "not" / "there", corpus, tokenizer_of, preparation_of, workers=1)
    assert not (tmp_path / "not").exists()
    return found, seen


@pytest.mark.parametrize("sample", [100_000, 10_000_000])
def test_disk_and_text_are_foretold_from_the_beginning(tmp_path, corpus, tokenizer, documents, monkeypatch, sample):
    monkeypatch.setattr(module, "SAMPLE_BYTES", sample)
    found, seen = estimated(tmp_path, corpus, tokenizer)
    stores = make_stores(tmp_path / "store", corpus, tokenizer)
    size = 200 * sum(len(document) for document in documents)
    assert found.whole == (sample > size) and found.sample == sum(map(len, seen))
    assert found.sample < 2 * sample
    assert found.total == pytest.approx(size, rel=0.05)
    stored = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.npy"))
    assert found.disk == pytest.approx(stored, rel=0.05)
    tokens = sum(store.num_tokens for store in stores.values())
    assert found.total * found.tokens_a_byte == pytest.approx(tokens, rel=0.05)
    assert found.seconds == found.total / found.rate > 0 and found.free > 0


def test_a_corpus_of_unknown_size_has_rates_alone(tmp_path, documents, tokenizer, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_BYTES", 1000)
    found, _ = estimated(tmp_path, documents * 2, tokenizer)
    assert found.total is found.disk is found.seconds is None and found.rate > 0 and not found.whole
