import json
import re

import numpy as np
import pytest

from mobilebert_jax.inspection.stores import store_statistics
from mobilebert_jax.text.store import TokenStore
from mobilebert_jax.text.tokenizer import load_tokenizer, train_tokenizer
from tests.text.stores import make_stores

DOCUMENTS = [f"The cat sat on mat number {i} today. It slept. A dog ran." for i in range(40)]


@pytest.fixture
def folder(tmp_path):
    tokenizer = train_tokenizer(DOCUMENTS[:20], 60)
    tokenizer.save(tmp_path / "data" / "tokenizer")
    make_stores(tmp_path / "data", [*DOCUMENTS, "A ☃ ran. It slept."], tokenizer, 0.2, shard_bytes=500)
    return tmp_path / "data"


def test_lengths_are_counted(folder):
    found, store = store_statistics(folder), TokenStore.open(folder, "train")
    assert sum(found["tokens_a_document"].values()) == store.num_documents > 20
    assert sum(found["tokens_a_sentence"].values()) == store.num_sentences
    short = int((np.diff(store.sentence_offsets) <= 8).sum())
    assert found["tokens_a_sentence"]["up to 8"] == short > 0 and found["tokens_a_sentence"]["more"] == 0


def test_examples_are_decoded_with_what_was_masked(folder):
    found = store_statistics(folder)
    assert [tried["sequence_length"] for tried in found["examples"]] == [128, 512]
    for tried in found["examples"]:
        assert 0 < tried["padding_share"] < 1 and 0.05 < tried["masked_share"] < 0.2
        for sample in tried["samples"]:
            assert sample.startswith("[CLS] ") and sample.endswith(" [SEP]")
            assert re.findall(r"\{(\S+)>(\S+)\}", sample)


@pytest.mark.parametrize("packing", [{}, {"packing": False}, {"packing": True}])
def test_a_run_s_own_examples_are_tried(folder, packing):
    data = {"mask_probability": 0.3, "whole_word": True, "short_sequence_probability": 0.0, **packing}
    phases = {
        name: {"sequence_length": length, "max_predictions": 9}
        for name, length in (("teacher", 16), ("transfer", 48), ("distill", 48))
    }
    run = {"config": {"data": data, **phases}, "identity": "", "inputs": {}}
    (folder.parent / "config.json").write_text(json.dumps(run))
    found = store_statistics(folder)["examples"]
    assert [tried["sequence_length"] for tried in found] == [16, 48]
    assert (" [SEP] [CLS] " in found[1]["samples"][0]) == packing.get("packing", False)


def test_unknown_tokens_are_counted(folder):
    tokenizer = load_tokenizer(folder / "tokenizer")
    tokens = [np.load(path) for path in folder.glob("shards/*/train/tokens.npy")]
    share = sum((part == tokenizer.unk_id).sum() for part in tokens) / sum(map(len, tokens))
    assert store_statistics(folder)["unknown_share"] == share > 0
