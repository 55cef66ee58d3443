import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.text.store import SPLITS, TokenStore, token_dtype
from mobilebert_jax.utils.errors import UserError
from tests.text.stores import ListCorpus, make_stores, sentences_of


@pytest.fixture
def stores(tmp_path, documents, tokenizer):
    return make_stores(tmp_path, ListCorpus(documents), tokenizer, shard_bytes=800)


def test_shards_are_read_as_one(tmp_path, stores, documents, tokenizer):
    whole = make_stores(tmp_path / "whole", documents, tokenizer)
    for split in SPLITS:
        assert len(stores[split].tokens) > 3 and len(whole[split].tokens) == 1
        assert sentences_of(stores[split]) == sentences_of(whole[split])
        assert np.array_equal(stores[split].sentence_offsets, whole[split].sentence_offsets)
        assert np.array_equal(stores[split].document_offsets, whole[split].document_offsets)


def test_arrays_are_plain_and_counts_agree(stores, tokenizer):
    for split, store in stores.items():
        assert all(type(tokens) is np.ndarray and tokens.dtype == "u2" for tokens in store.tokens)
        assert (store.sentence_offsets.dtype, store.document_offsets.dtype) == ("i8", "i8")
        assert store.num_documents == store.manifest["num_documents"] > 0
        assert store.num_sentences == store.manifest["num_sentences"] == store.document_offsets[-1]
        assert store.num_tokens == store.manifest["num_tokens"] == sum(map(len, store.tokens))
        assert (np.diff(store.sentence_offsets) > 0).all() and (np.diff(store.document_offsets) > 0).all()
        assert store.manifest["tokenizer"] == tokenizer.fingerprint()
        assert (store.manifest["corpus"], store.manifest["split"]) == ("text:list", split)


def test_ids_above_65535_need_four_bytes():
    assert token_dtype(65_536) == np.uint16
    assert token_dtype(65_537) == np.uint32


@given(st.data())
def test_runs_of_tokens_are_copied_from_wherever_they_lie(data):
    sizes = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
    parts = np.split(np.arange(sum(sizes), dtype=np.uint16) + 1, np.cumsum(sizes)[:-1])
    store = TokenStore(tuple(parts), np.array([0, sum(sizes)]), np.array([0, 1]), {})
    runs = []
    for _ in range(data.draw(st.integers(0, 8))):
        shard = data.draw(st.sampled_from([place for place, size in enumerate(sizes) if size]))
        first = data.draw(st.integers(0, sizes[shard] - 1))
        runs.append((sum(sizes[:shard]) + first, data.draw(st.integers(0, sizes[shard] - first))))
    start, length = np.array(runs, np.int64).reshape(-1, 2).T
    gaps = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(runs), max_size=len(runs))), np.int64)
    to = np.cumsum(length) - length + np.cumsum(gaps)
    target = np.zeros(int(length.sum() + gaps.sum()) + 2, np.int32)
    expected = target.copy()
    for place, first, count in zip(to, start, length, strict=True):
        expected[place : place + count] = np.concatenate(parts)[first : first + count]
    store.copy_tokens(start, length, target, to)
    assert np.array_equal(target, expected)


def change_manifest(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def change_count(folder, name):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][1]["train"][name] = 5
    (folder / "manifest.json").write_text(json.dumps(manifest))


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])


SHARD = "shards/00001/train"
DAMAGES = {
    "no token store": lambda f: (f / "manifest.json").unlink(),
    "not the manifest": lambda f: (f / "manifest.json").write_text("[]"),
    "store version 99": lambda f: change_manifest(f, version=99),
    "00001/train: num_tokens should be 5": lambda f: change_count(f, "num_tokens"),
    "00001/train: num_documents should be 5": lambda f: change_count(f, "num_documents"),
    "00001/train/tokens.npy: missing": lambda f: (f / SHARD / "tokens.npy").unlink(),
    "00001/train/tokens.npy: cut short": lambda f: cut(f / SHARD / "tokens.npy", -2),
    "00001/train/documents.npy: cut short or damaged": lambda f: (f / SHARD / "documents.npy").write_bytes(b"x" * 99),
    "00001/train/documents.npy: cut short": lambda f: (f / SHARD / "documents.npy").write_bytes(b""),
    "00001/train/sentences.npy: float64": lambda f: np.save(f / SHARD / "sentences.npy", np.zeros(3)),
    "num_sentences should be": lambda f: np.save(f / SHARD / "sentences.npy", np.load(f / SHARD / "sentences.npy")[1:]),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_stores_do_not_open_and_the_shard_is_named(tmp_path, stores, message):
    DAMAGES[message](tmp_path)
    with pytest.raises(UserError, match=message):
        TokenStore.open(tmp_path, "train")
