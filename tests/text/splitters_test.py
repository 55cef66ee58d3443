import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.text.sentences import split_sentences
from mobilebert_jax.text.splitters import sentence_splitter
from mobilebert_jax.utils.errors import UserError
from tests.text.stores import make_stores

GERMAN = ["Am 5. Mai kam Dr. Müller nach Berlin.", "Er blieb, z. B. im Hotel.", "Warum?"]


def test_rules_are_the_package_s_own():
    assert sentence_splitter("rules") is split_sentences


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("de", GERMAN),
        ("hi", ["यह वाक्य है।", "यह दूसरा है।"]),
        ("es", ["¿Quién es?", "El Sr. López llegó."]),
        ("zh", ["你好。", "世界。"]),
        ("en", ["He met Dr. Smith.", "They talked."]),
    ],
)
def test_sentencex_knows_other_languages(language, sentences):
    pytest.importorskip("sentencex")
    assert sentence_splitter(f"sentencex:{language}")(" ".join(sentences)) == sentences


@given(st.text(max_size=60), st.sampled_from(["de", "ja", "ar", "xyz"]))
def test_no_word_is_lost_and_no_sentence_is_empty(paragraph, language):
    pytest.importorskip("sentencex")
    sentences = sentence_splitter(f"sentencex:{language}")(paragraph)
    assert "".join("".join(sentences).split()) == "".join(paragraph.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


@pytest.mark.parametrize("name", ["", "sentencex", "sentencex:", "sentencex:German", "pysbd:de", "rules:de"])
def test_unknown_splitters_are_refused(name):
    with pytest.raises(UserError) as error:
        sentence_splitter(name)
    assert f"data.sentences={name!r}: must be rules, or sentencex:LANGUAGE" in str(error.value)


def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencex", None)
    with pytest.raises(UserError, match=r"'data.sentences=sentencex:de' needs the package sentencex .* pip install"):
        sentence_splitter("sentencex:de")


def test_a_store_knows_how_its_sentences_were_split(tmp_path, tokenizer):
    pytest.importorskip("sentencex")

    class Corpus(list):
        spec = "list"
        identity = {"corpus_fingerprint": "a"}  # noqa: RUF012

    corpus = Corpus([" ".join(GERMAN), "Ja. Nein."])
    rules = make_stores(tmp_path, corpus, tokenizer, 0.5)["train"].manifest
    assert "sentences" not in rules and rules["corpus_fingerprint"] == "a"
    german = make_stores(tmp_path, corpus, tokenizer, 0.5, sentences="sentencex:de")
    assert german["train"].manifest["sentences"] == "sentencex:de"
    assert sum(store.num_sentences for store in german.values()) == 5
    corpus.identity = {"corpus_fingerprint": "b"}
    again = make_stores(tmp_path, corpus, tokenizer, 0.5, sentences="sentencex:de")
    assert again["heldout"].manifest["corpus_fingerprint"] == "b", "another content is another store"
