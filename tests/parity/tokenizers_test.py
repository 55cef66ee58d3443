"""Tokenizer folders in transformers: the same ids, the same roles, pairs as BERT wants them."""

import pytest
import transformers

from mobilebert_jax.text.tokenizer import KINDS, load_tokenizer, train_tokenizer
from tests.text.given_models import given_model

TEXTS = [
    "The cat sat on the mat.",
    "  two  spaces\tand a tab\u3000",
    "Caf\u00e9 cafe\u0301 İstanbul ΟΔΟΣ ß ﬁ ½",
    "你好 が か\u3099 🐱👩\u200d👧 a\u200bb \x85 x\u0304",
    "un[MASK]ed [SEP] dogs were running",
    "",
]


@pytest.fixture(params=[(kind, lowercase) for kind in KINDS for lowercase in (True, False)], ids=str)
def both(request, tiny_run, tmp_path):
    """Ours, and transformers' of the folder that ours wrote."""
    kind, lowercase = request.param
    text = (tiny_run.folder / "corpus.txt").read_text()
    ours = train_tokenizer([text], 60 if kind == "unigram" else 120, lowercase, kind)
    ours.save(tmp_path)
    return ours, transformers.AutoTokenizer.from_pretrained(tmp_path)


def test_texts_have_the_same_ids(both, tiny_run):
    ours, theirs = both
    texts = [*TEXTS, *(tiny_run.folder / "corpus.txt").read_text().split("\n\n")]
    assert theirs(texts, add_special_tokens=False)["input_ids"] == ours.ids_batch(texts)


def test_special_tokens_have_the_same_roles(both):
    ours, theirs = both
    names = (theirs.pad_token, theirs.unk_token, theirs.cls_token, theirs.sep_token, theirs.mask_token)
    assert names == ours.special_tokens
    assert len(theirs) == ours.vocab_size


def test_pairs_have_two_segments(both):
    ours, theirs = both
    first, second = ours.ids_batch(["the cat", "a mat"])
    pair = theirs("the cat", "a mat")
    assert pair["input_ids"] == [ours.cls_id, *first, ours.sep_id, *second, ours.sep_id]
    assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)


def test_a_given_model_is_the_same_there(tmp_path):
    (tmp_path / "given.model").write_bytes(given_model(normalization_rule_name="nmt_nfkc_cf"))
    ours = load_tokenizer(tmp_path / "given.model")
    ours.save(tmp_path / "ours")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    texts = ["The CAT sat on a mat", " dogs  were running ", "Café 你好 ½"]
    assert theirs(texts, add_special_tokens=False)["input_ids"] == ours.ids_batch(texts)
