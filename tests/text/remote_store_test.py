import shutil

import fsspec
import numpy as np
import pytest

from mobilebert_jax.text.remote_store import RemoteStore
from mobilebert_jax.text.store import TokenStore
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.utils.errors import UserError
from tests.buckets import hide_gcsfs
from tests.text.stores import ListCorpus, make_stores


@pytest.fixture
def store(tmp_path, documents, tokenizer):
    tokenizer.save(tmp_path / "made" / "tokenizer")
    make_stores(tmp_path / "made", ListCorpus(documents), tokenizer, shard_bytes=800)
    return tmp_path / "made"


@pytest.fixture
def bucket(store):
    files = fsspec.filesystem("memory")
    files.put(str(store), "/bucket/data", recursive=True)
    yield "memory://bucket/data"
    files.rm("/bucket", recursive=True)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_store_in_a_bucket_is_copied_whole(bucket, store, tmp_path, tokenizer):
    RemoteStore(bucket).fetch(tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(store)
    assert load_tokenizer(tmp_path / "copy" / "tokenizer").fingerprint() == tokenizer.fingerprint()


def test_a_store_in_a_folder_is_linked_not_copied(store, tmp_path):
    RemoteStore(str(store)).fetch(tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(store)
    for path in store.rglob("*.npy"):
        assert path.stat().st_ino == (tmp_path / "copy" / path.relative_to(store)).stat().st_ino


def test_what_has_come_already_is_not_fetched_again(bucket, store, tmp_path):
    copy = tmp_path / "copy"
    RemoteStore(bucket).fetch(copy)
    (copy / "manifest.json").unlink()
    shutil.rmtree(copy / "shards" / "00001")
    (copy / "shards" / "00002" / "train" / "tokens.npy").write_bytes(b"cut")
    stamps = {path: path.stat().st_mtime_ns for path in copy.rglob("*.npy")}
    RemoteStore(bucket).fetch(copy)
    assert files_of(copy) == files_of(store)
    fresh = {path.parent.parent.name for path in copy.rglob("*.npy") if path.stat().st_mtime_ns != stamps.get(path)}
    assert fresh == {"00001", "00002"}


def test_a_shard_with_other_content_than_the_manifest_names_is_refused(store, tmp_path):
    path = store / "shards" / "00001" / "heldout" / "tokens.npy"
    tokens = np.load(path)
    path.unlink()
    np.save(path, tokens[::-1])
    with pytest.raises(UserError, match="shard 00001 is incomplete there, or not the one"):
        RemoteStore(str(store)).fetch(tmp_path / "copy")
    with pytest.raises(UserError, match="no token store"):
        TokenStore.open(tmp_path / "copy", "train")
    shutil.rmtree(store / "shards" / "00000")
    with pytest.raises(UserError, match="00000"):
        RemoteStore(str(store)).fetch(tmp_path / "copy2")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gone/data", r"no manifest\.json there"),
        ("memory://nowhere", r"no manifest\.json there"),
        ("nonsense://bucket/data", "cannot be read"),
        ("gs://bucket/data", r"pip install 'mobilebert-jax\[gcs\]'"),
    ],
)
def test_an_address_without_a_store_is_one_line(address, message, monkeypatch):
    hide_gcsfs(monkeypatch)
    with pytest.raises(UserError, match=message) as error:
        RemoteStore(address)
    assert str(error.value).startswith(f"data.store='{address}'") and "\n" not in str(error.value)
