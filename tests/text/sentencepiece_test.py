"""SentencePiece against the library itself, and models that others trained."""

import json

import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.sentencepiece import SentencePiece
from mobilebert_jax.text.sentencepiece_backend import convert
from mobilebert_jax.text.sentencepiece_model import parse_model
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.utils.errors import UserError
from tests.text.conftest import WORDS
from tests.text.given_models import ALBERT, T5, XLM, given_model

KINDS = ("unigram", "bpe")
ODD = (
    "  The  cat\tSAT \u3000on ½ ﬁ x\u0304 X\u0304 E\u0301 カ\u3099 🐱👩\u200d👧 你好 ▁a▁▁b \u200bmat\n\x01 aaaa iiii  "
)


def library(tokenizer):
    return sentencepiece.SentencePieceProcessor(model_proto=tokenizer._data)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60))
@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_the_library(trained, kind, text):
    tokenizer = trained(kind)
    assert tokenizer.ids_batch([text]) == [library(tokenizer).encode(text)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_tokenizer_json_gives_the_same_ids(trained, documents, kind, lowercase):
    tokenizer = trained(kind, lowercase)
    texts = [*documents, "\n".join(documents), ODD, "un[MASK]ed [SEP]", ""]
    assert [found.ids for found in tokenizer.backend.encode_batch(texts)] == tokenizer.ids_batch(texts)


# Marks are put in order by one library alone: letters, digits, signs and spaces of any script are what is compared.
PLAIN = st.characters(categories=["L", "N", "P", "S", "Z", "Cc"], exclude_characters="[\x00")


@settings(max_examples=150, deadline=None)
@given(st.text(st.one_of(PLAIN, st.sampled_from("the catsmdog \u0301\u0304")), max_size=60))
@pytest.mark.parametrize("kind", KINDS)
def test_tokenizer_json_gives_the_same_ids_for_any_text(trained, kind, text):
    tokenizer = trained(kind)
    assert tokenizer.backend.encode(text).ids == tokenizer.ids_batch([text])[0]


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40))
def test_places_cover_what_their_pieces_say(trained, text):
    tokenizer = trained("unigram", False)
    (encoding,) = tokenizer.encode_batch([text])
    for index, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
        own = text[begin:end].encode("utf-8", "replace").decode()
        if index in tokenizer.special_ids:
            assert own
        else:
            assert tokenizer.text_of(index) in library(tokenizer).normalize(own)


def test_albert_has_a_pad_and_an_unknown_token_of_its_own(tmp_path):
    (tmp_path / "spiece.model").write_bytes(given_model(normalization_rule_name="nmt_nfkc_cf"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.special_tokens == ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    assert tokenizer.special_ids == (0, 1, 2, 3, 4) and tokenizer.lowercase
    assert tokenizer.ids_batch([ODD]) == [library(tokenizer).encode(ODD)]
    tokenizer.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").fingerprint() == tokenizer.fingerprint()
    assert (tmp_path / "again" / "spiece.model").read_bytes() == (tmp_path / "spiece.model").read_bytes()


def test_the_folder_names_the_special_tokens_of_others(tmp_path):
    data = given_model(XLM, pad_id=3, user_defined_symbols=["<mask>"])
    (tmp_path / "sentencepiece.bpe.model").write_bytes(data)
    with pytest.raises(UserError, match=r"bpe\.model: no \[CLS\] \[SEP\] \[MASK\] in the vocabulary"):
        load_tokenizer(tmp_path)
    names = {"cls_token": "<s>", "sep_token": "</s>", "mask_token": {"content": "<mask>"}}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.special_tokens == ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
    assert tokenizer.special_ids == (3, 0, 1, 2, 4)
    assert tokenizer.ids_batch(["the <mask> sat"])[0].count(4) == 1


@pytest.mark.parametrize(
    ("base", "settings", "beside", "message"),
    [
        (T5, {}, {}, r"no \[CLS\] \[SEP\] \[MASK\] in the vocabulary; special tokens for padding, unknown, first"),
        (XLM, {}, {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}, r"no \[PAD\] <mask> in"),
        (ALBERT, {}, {"do_lower_case": True}, "says do_lower_case, which the model itself does not do"),
        (ALBERT, {}, {"unk_token": "[SEP]", "sep_token": "<unk>"}, r"unk_token is \[SEP\], but the model has another"),
        (ALBERT, {}, {"sep_token": "[CLS]"}, r"\[CLS\] is both cls_token and sep_token; five different"),
        (ALBERT, {}, {"mask_token": 3}, "mask_token=3; a token is needed"),
        (ALBERT, {"model_type": "char", "vocab_size": 30}, {}, "kind char; one of unigram, bpe is needed"),
        (ALBERT, {"treat_whitespace_as_suffix": True}, {}, "words' marks stand at their ends"),
    ],
)
def test_models_that_do_not_fit_are_refused_in_a_line(tmp_path, base, settings, beside, message):
    (tmp_path / "spiece.model").write_bytes(given_model(base, **settings))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(beside))
    with pytest.raises(UserError, match=message) as error:
        load_tokenizer(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model_type": "bpe"},
        {"byte_fallback": True, "vocab_size": 310},
        {"model_type": "bpe", "byte_fallback": True, "vocab_size": 310},
        {"add_dummy_prefix": False},
        {"remove_extra_whitespaces": False},
        {"normalization_rule_name": "identity"},
        {"user_defined_symbols": ["<br>", "cat"]},
        {"split_by_whitespace": False},
    ],
    ids=str,
)
def test_models_of_others_become_a_tokenizer_json(settings):
    data = given_model(**settings)
    tokenizer = SentencePiece(data)
    backend = convert(parse_model(data, "model"), data, "<unk>")
    texts = [" ".join(WORDS), "The cat<br> sat.", "où 你好 🐱", "tall trees", ""]
    assert [found.ids for found in backend.encode_batch(texts)] == [library(tokenizer).encode(text) for text in texts]


def test_a_tokenizer_json_that_was_changed_is_taken_for_what_it_is(trained, tmp_path):
    trained("unigram").save(tmp_path)
    changed = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    changed.normalizer = tokenizers.normalizers.Lowercase()
    changed.save(str(tmp_path / "tokenizer.json"))
    assert not isinstance(load_tokenizer(tmp_path), SentencePiece)
    assert load_tokenizer(tmp_path / "spiece.model").fingerprint() == trained("unigram").fingerprint()


@pytest.mark.parametrize("switch", ["true", "false", "0"])
def test_threads_change_nothing(trained, documents, monkeypatch, switch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", switch)
    tokenizer = trained("unigram")
    assert tokenizer.ids_batch(documents) == [library(tokenizer).encode(text) for text in documents]
