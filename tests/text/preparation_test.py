import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mobilebert_jax.text.preparation import Preparation, build_store, finished_store
from mobilebert_jax.text.sentences import split_sentences
from mobilebert_jax.text.shards import Share
from mobilebert_jax.text.store import SPLITS, TokenStore
from mobilebert_jax.utils.errors import UserError
from tests.text.stores import ListCorpus, make_stores, sentences_of


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def stamps_of(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*.npy")}


@pytest.fixture
def preparation(documents, tokenizer):
    return Preparation(ListCorpus(documents), tokenizer, 0.3, shard_bytes=800)


def test_both_sides_together_hold_every_sentence_of_the_corpus_in_order(tmp_path, documents, tokenizer):
    expected = []
    for document in documents:
        sentences = [s for paragraph in document.split("\n") for s in split_sentences(paragraph)]
        expected.append([encoding.ids for encoding in tokenizer.encode_batch(sentences)])
    stores = make_stores(tmp_path, documents, tokenizer)
    found = {split: sentences_of(store) for split, store in stores.items()}
    assert [document for document in expected if document in found["train"]] == found["train"]
    assert sorted(found["train"] + found["heldout"]) == sorted(expected)


def test_a_document_keeps_its_side_in_a_larger_corpus(tmp_path, documents, tokenizer):
    few = make_stores(tmp_path / "few", documents, tokenizer)
    more = make_stores(tmp_path / "more", ["Birds sang. Dogs ran.", *documents, "Trees near rivers."], tokenizer)
    heldout = sentences_of(more["heldout"])
    assert all(document in heldout for document in sentences_of(few["heldout"]))


def test_two_documents_are_one_for_each_side(tmp_path, tokenizer):
    for fraction in (0.001, 0.999):
        stores = make_stores(tmp_path / str(fraction), ["The cat. A mat.", "A dog.", ""][:2], tokenizer, fraction)
        assert [stores[split].num_documents for split in SPLITS] == [1, 1]
        assert sorted(store.num_sentences for store in stores.values()) == [1, 2]


def test_a_side_that_would_be_empty_gets_the_first_document(tmp_path, documents, tokenizer):
    stores = make_stores(tmp_path, documents, tokenizer, 1e-9, shard_bytes=800)
    whole = make_stores(tmp_path / "whole", documents, tokenizer, 0.5)
    assert len(stores["heldout"].tokens) > 3 and stores["heldout"].num_documents == 1
    first = next(sentences_of(store)[0] for store in whole.values() if store.num_documents)
    assert sentences_of(stores["heldout"])[0] in [first, *(sentences_of(store)[0] for store in whole.values())]
    assert stores["train"].num_documents == len(documents) - 1


@pytest.mark.parametrize("corpus", [[], ["The cat."], ["The cat.", "\u200b"]])
def test_fewer_than_two_documents_are_refused_and_nothing_stays(tmp_path, tokenizer, corpus):
    with pytest.raises(UserError, match="fewer than 2 documents"):
        make_stores(tmp_path, corpus, tokenizer)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_fractions_outside_0_and_1_are_refused(tmp_path, tokenizer, fraction):
    with pytest.raises(UserError, match="heldout_fraction"):
        make_stores(tmp_path, ["a", "b"], tokenizer, fraction)


def test_sentences_and_documents_without_tokens_are_dropped(tmp_path, tokenizer):
    stores = make_stores(tmp_path, ["The cat.\n\u200b\nA dog.", "\ufeff", "A mat."], tokenizer, 0.5).values()
    assert sum(store.num_documents for store in stores) == 2
    assert sum(store.num_sentences for store in stores) == 3


def test_shares_of_several_machines_make_the_store_of_one(tmp_path, preparation):
    assert build_store(tmp_path / "one", preparation, progress=False)
    shares = [Share(index, 3) for index in range(3)]
    assert build_store(tmp_path / "many", preparation, shares[2], progress=False) is None
    assert not (tmp_path / "many" / "manifest.json").exists()
    assert build_store(tmp_path / "many", preparation, shares[0], progress=False) is None
    manifest = build_store(tmp_path / "many", preparation, shares[1], progress=False)
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")
    assert finished_store(tmp_path / "many", preparation) == manifest


def test_shards_of_machines_with_disks_of_their_own_may_be_put_together(tmp_path, preparation):
    build_store(tmp_path / "one", preparation, progress=False)
    for index in range(2):
        build_store(tmp_path / str(index), preparation, Share(index, 2), progress=False)
    shutil.copytree(tmp_path / "1" / "shards", tmp_path / "0" / "shards", dirs_exist_ok=True)
    before = stamps_of(tmp_path / "0")
    assert build_store(tmp_path / "0", preparation, progress=False)
    assert files_of(tmp_path / "0") == files_of(tmp_path / "one") and stamps_of(tmp_path / "0") == before


def test_processes_do_not_change_the_store(tmp_path, documents, tokenizer, monkeypatch):
    monkeypatch.setattr("mobilebert_jax.text.shards.BATCH_BYTES", 200)
    preparation = Preparation(ListCorpus(documents * 2), tokenizer, 0.3, shard_bytes=3000)
    for workers in (1, 3):
        build_store(tmp_path / str(workers), preparation, workers=workers, progress=False)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "3")


def test_a_finished_store_is_known_again(tmp_path, documents, tokenizer, preparation):
    assert finished_store(tmp_path, preparation) is None
    manifest = build_store(tmp_path, preparation, progress=False)
    assert finished_store(tmp_path, preparation) == manifest
    corpus = ListCorpus(documents)
    for other in (
        Preparation(corpus, tokenizer, 0.31, shard_bytes=800),
        Preparation(corpus, tokenizer, 0.3, shard_bytes=801),
        Preparation(corpus, tokenizer, 0.3, "sentencex:en", 800),
        Preparation(documents, tokenizer, 0.3, shard_bytes=800),
    ):
        assert finished_store(tmp_path, other) is None


def test_a_damaged_shard_is_named_and_made_again_and_no_other(tmp_path, preparation):
    build_store(tmp_path, preparation, progress=False)
    before, stamps = files_of(tmp_path), stamps_of(tmp_path)
    path = tmp_path / "shards" / "00002" / "heldout" / "tokens.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"00002/heldout/tokens\.npy: cut short or damaged"):
        finished_store(tmp_path, preparation)
    build_store(tmp_path, preparation, progress=False)
    assert files_of(tmp_path) == before
    changed = {path.parent.parent.name for path, stamp in stamps_of(tmp_path).items() if stamps[path] != stamp}
    assert changed == {"00002"}


def test_what_was_made_of_something_else_is_replaced(tmp_path, documents, tokenizer, preparation):
    build_store(tmp_path / "new", preparation, progress=False)
    build_store(tmp_path / "old", Preparation(documents[3:], tokenizer, 0.3, shard_bytes=300), progress=False)
    build_store(tmp_path / "old", preparation, progress=False)
    assert files_of(tmp_path / "old") == files_of(tmp_path / "new")


def test_the_content_hash_follows_the_content(tmp_path, documents, tokenizer):
    hashes = [
        make_stores(tmp_path / str(i), corpus, tokenizer)["train"].manifest["sha256"]
        for i, corpus in enumerate([documents, documents, documents[1:]])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_error_while_building_leaves_finished_shards_alone(tmp_path, documents, tokenizer):
    class Failing(ListCorpus):
        def __iter__(self):
            yield from documents
            raise KeyboardInterrupt

    preparation = Preparation(Failing(documents), tokenizer, 0.3, shard_bytes=300)
    with pytest.raises(KeyboardInterrupt):
        build_store(tmp_path, preparation, workers=1, progress=False)
    assert not list(tmp_path.rglob(".unfinished-*")) and not (tmp_path / "manifest.json").exists()


def test_a_disk_that_is_too_small_is_noticed_before_it_is_full(tmp_path, documents, tokenizer, monkeypatch):
    class Known(ListCorpus):
        def progress(self):
            return 0.001

    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match=r"store: the disk has 0 MB free, the store needs about \d+ MB more"):
        build_store(tmp_path / "store", Preparation(Known(documents), tokenizer, 0.3), progress=False)
    assert not (tmp_path / "store").exists()


KILLED = """
import sys
from mobilebert_jax.text import shards
from mobilebert_jax.text.preparation import Preparation, build_store
from mobilebert_jax.text.text_corpus import open_text
from mobilebert_jax.text.tokenizer import load_tokenizer

shards.BATCH_BYTES = 20_000
if __name__ == "__main__":
    folder, corpus = sys.argv[1:]
    tokenizer = load_tokenizer(folder + "/tokenizer")
    preparation = Preparation(open_text(corpus, corpus), tokenizer, 0.3, shard_bytes=300_000)
    build_store(folder + "/store", preparation, workers=2, progress=False)
"""


def children_of(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def test_a_killed_build_goes_on_where_it_was_and_ends_the_same(tmp_path, documents, tokenizer):
    tokenizer.save(tmp_path / "tokenizer")
    (tmp_path / "corpus.txt").write_text("\n\n".join(documents * 600))
    (tmp_path / "killed.py").write_text(KILLED)
    words = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path), str(tmp_path / "corpus.txt")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, env=environment, text=True)
    finished = tmp_path / "store" / "shards" / "00002" / "shard.json"
    deadline = time.monotonic() + 60
    while not finished.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.01)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert workers and not psutil.wait_procs(workers, timeout=20)[1], "processes without a parent end"
    with pytest.raises(UserError, match="no token store"):
        TokenStore.open(tmp_path / "store", "train")
    stamps = stamps_of(tmp_path / "store" / "shards" / "00001")
    subprocess.run(words, check=True, env=environment, capture_output=True)
    assert stamps_of(tmp_path / "store" / "shards" / "00001") == stamps
    shutil.move(tmp_path / "store", tmp_path / "resumed")
    subprocess.run(words, check=True, env=environment, capture_output=True)
    assert files_of(tmp_path / "resumed") == files_of(tmp_path / "store")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_goes_to_stderr_and_only_to_a_terminal(tmp_path, documents, tokenizer, capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    build_store(tmp_path, Preparation(documents, tokenizer, 0.3))
    captured = capsys.readouterr()
    assert captured.out == "" and ("tokenizing" in captured.err) is terminal


def test_the_manifest_says_what_the_store_is_made_of(tmp_path, preparation):
    build_store(tmp_path, preparation, progress=False)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["tokenizer"] == preparation.tokenizer.fingerprint()
    assert {"mobilebert-jax", "tokenizers", "numpy"} <= set(manifest["versions"])
    for split in SPLITS:
        for name in ("num_documents", "num_sentences", "num_tokens"):
            assert manifest["splits"][split][name] == sum(entry[split][name] for entry in manifest["shards"])
    assert sum(entry["bytes"] for entry in manifest["shards"]) == sum(map(len, preparation.corpus))
