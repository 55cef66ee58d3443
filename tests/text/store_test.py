import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mobilebert_jax.text.sentences import split_sentences
from mobilebert_jax.text.store import TokenStore, build_stores, token_dtype
from mobilebert_jax.utils.errors import UserError


class ListCorpus(list):
    spec = "text:list"


def sentences_of(store):
    """A store's content as nested lists: documents of sentences of ids."""
    ids = [part.tolist() for part in np.split(store.tokens, store.sentence_offsets[1:-1])]
    return [ids[a:b] for a, b in zip(store.document_offsets[:-1], store.document_offsets[1:], strict=True)]


@pytest.fixture
def stores(tmp_path, documents, tokenizer):
    build_stores(tmp_path, ListCorpus(documents), tokenizer, 0.3, progress=False)
    return {split: TokenStore.open(tmp_path / split) for split in ("train", "heldout")}


def test_both_stores_together_hold_every_sentence_of_the_corpus(stores, documents, tokenizer):
    expected = []
    for document in documents:
        sentences = [s for paragraph in document.split("\n") for s in split_sentences(paragraph)]
        expected.append([encoding.ids for encoding in tokenizer.encode_batch(sentences)])
    found = sentences_of(stores["train"]) + sentences_of(stores["heldout"])
    assert sorted(found) == sorted(expected)


def test_arrays_are_plain_and_counts_agree(stores, tokenizer):
    for split, store in stores.items():
        assert type(store.tokens) is np.ndarray
        assert (store.tokens.dtype, store.sentence_offsets.dtype, store.document_offsets.dtype) == ("u2", "i8", "i8")
        assert store.num_documents == store.manifest["num_documents"] > 0
        assert store.num_sentences == store.manifest["num_sentences"] == store.document_offsets[-1]
        assert store.num_tokens == store.manifest["num_tokens"] == store.sentence_offsets[-1]
        assert (np.diff(store.sentence_offsets) > 0).all()
        assert store.manifest["tokenizer"] == tokenizer.fingerprint()
        assert (store.manifest["corpus"], store.manifest["split"]) == ("text:list", split)


def test_a_document_keeps_its_side_in_a_larger_corpus(tmp_path, stores, documents, tokenizer):
    more = ["Birds sang. Dogs ran.", *documents, "Trees near rivers."]
    build_stores(tmp_path / "more", more, tokenizer, 0.3, progress=False)
    heldout = sentences_of(TokenStore.open(tmp_path / "more" / "heldout"))
    first, *rest = sentences_of(stores["heldout"])
    assert all(document in heldout for document in rest)
    assert first in heldout


def test_ids_above_65535_need_four_bytes():
    assert token_dtype(65_536) == np.uint16
    assert token_dtype(65_537) == np.uint32


def test_two_documents_are_one_for_each_side(tmp_path, tokenizer):
    for fraction in (0.001, 0.999):
        folder = tmp_path / str(fraction)
        manifests = build_stores(folder, ["The cat.", "A dog."], tokenizer, fraction, progress=False)
        assert [manifests[split]["num_documents"] for split in ("train", "heldout")] == [1, 1]


@pytest.mark.parametrize("corpus", [[], ["The cat."], ["The cat.", "\u200b"]])
def test_fewer_than_two_documents_are_refused(tmp_path, tokenizer, corpus):
    with pytest.raises(UserError, match="fewer than 2 documents"):
        build_stores(tmp_path, corpus, tokenizer, 0.5, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_fractions_outside_0_and_1_are_refused(tmp_path, tokenizer, fraction):
    with pytest.raises(UserError, match="heldout_fraction"):
        build_stores(tmp_path, ["a", "b"], tokenizer, fraction)


def test_sentences_and_documents_without_tokens_are_dropped(tmp_path, tokenizer):
    build_stores(tmp_path, ["The cat.\n\u200b\nA dog.", "\ufeff", "A mat."], tokenizer, 0.5, progress=False)
    stores = [TokenStore.open(tmp_path / split) for split in ("train", "heldout")]
    assert sum(store.num_documents for store in stores) == 2
    assert sum(store.num_sentences for store in stores) == 3


def test_finished_stores_are_reused_without_reading_the_corpus(tmp_path, stores, documents, tokenizer):
    class Unreadable(ListCorpus):
        def __iter__(self):
            raise AssertionError

    manifests = build_stores(tmp_path, Unreadable(documents), tokenizer, 0.3)
    assert manifests == {split: store.manifest for split, store in stores.items()}


def test_another_corpus_fraction_or_damage_builds_anew(tmp_path, stores, documents, tokenizer):
    first = {split: store.manifest for split, store in stores.items()}
    assert build_stores(tmp_path, ListCorpus(documents[:9]), tokenizer, 0.31, progress=False) != first
    (tmp_path / "heldout" / "tokens.npy").unlink()
    assert build_stores(tmp_path, ListCorpus(documents), tokenizer, 0.3, progress=False) == first
    nameless = build_stores(tmp_path, documents[:9], tokenizer, 0.3, progress=False)
    assert nameless["train"]["num_documents"] + nameless["heldout"]["num_documents"] == 9
    assert build_stores(tmp_path, documents[:5], tokenizer, 0.3, progress=False) != nameless


def test_the_content_hash_follows_the_content(tmp_path, documents, tokenizer):
    hashes = [
        build_stores(tmp_path / str(i), corpus, tokenizer, 0.3, progress=False)["train"]["sha256"]
        for i, corpus in enumerate([documents, documents, documents[1:]])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_error_while_building_leaves_nothing(tmp_path, documents, tokenizer):
    def failing():
        yield from documents
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_stores(tmp_path, failing(), tokenizer, 0.3, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_killed_build_leaves_no_store_and_the_next_one_succeeds(tmp_path, documents, tokenizer):
    tokenizer.save(tmp_path / "tokenizer")
    program = (
        "import itertools, sys\n"
        "from mobilebert_jax.text.store import build_stores\n"
        "from mobilebert_jax.text.tokenizer import Tokenizer\n"
        "endless = (f'The cat sat on mat {i}.' for i in itertools.count())\n"
        "build_stores(sys.argv[1] + '/store', endless, Tokenizer.load(sys.argv[1] + '/tokenizer'), 0.3)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.DEVNULL)
    growing = tmp_path / "store" / ".unfinished-stores" / "train" / "tokens.npy"
    deadline = time.monotonic() + 30
    while not (growing.is_file() and growing.stat().st_size > 10_000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for split in ("train", "heldout", ".unfinished-stores/train"):
        with pytest.raises(UserError, match="no token store"):
            TokenStore.open(tmp_path / "store" / split)
    build_stores(tmp_path / "store", documents, tokenizer, 0.3, progress=False)
    assert TokenStore.open(tmp_path / "store" / "train").num_documents > 0
    assert not (tmp_path / "store" / ".unfinished-stores").exists()


def damage_manifest(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


DAMAGES = {
    "no token store": lambda f: (f / "manifest.json").unlink(),
    "not the manifest": lambda f: (f / "manifest.json").write_text("[]"),
    "store version 99": lambda f: damage_manifest(f, version=99),
    "num_tokens is 5": lambda f: damage_manifest(f, num_tokens=5),
    "num_documents is 5": lambda f: damage_manifest(f, num_documents=5),
    "tokens.npy: missing or damaged": lambda f: (f / "tokens.npy").unlink(),
    "document_offsets.npy: missing or damaged": lambda f: (f / "document_offsets.npy").write_bytes(b"x" * 99),
    "sentence_offsets.npy: float64": lambda f: np.save(f / "sentence_offsets.npy", np.zeros(3)),
    "num_sentences is": lambda f: np.save(f / "sentence_offsets.npy", np.load(f / "sentence_offsets.npy")[1:]),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_stores_do_not_open(tmp_path, stores, message):
    DAMAGES[message](tmp_path / "train")
    with pytest.raises(UserError, match=message):
        TokenStore.open(tmp_path / "train")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_goes_to_stderr_and_only_to_a_terminal(tmp_path, documents, tokenizer, capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    build_stores(tmp_path, documents, tokenizer, 0.3)
    captured = capsys.readouterr()
    assert captured.out == "" and ("tokenizing" in captured.err) is terminal
