"""What every kind of tokenizer does alike."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.tokenizer import KINDS, load_tokenizer, train_tokenizer
from mobilebert_jax.utils.errors import UserError

ODD = st.text(alphabet="ab the Éß½İﬁ\u0301\u0304\u3000\t\n\u200b\ufffd\x01\ud800🐱你好がか\u3099▁[MASK]", max_size=30)
TEXTS = st.one_of(st.text(max_size=40), ODD)


def test_special_tokens_come_first(each_kind):
    assert each_kind.special_ids == (0, 1, 2, 3, 4)
    assert each_kind.pieces[:5] == each_kind.special_tokens == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert len(each_kind.pieces) == each_kind.vocab_size <= 200


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=3))
def test_any_text_is_encoded_with_ordered_places_inside_it(each_kind, texts):
    encodings = each_kind.encode_batch(texts)
    assert each_kind.ids_batch(texts) == [list(encoding.ids) for encoding in encodings]
    for text, encoding in zip(texts, encodings, strict=True):
        assert all(0 <= index < each_kind.vocab_size for index in encoding.ids)
        assert all(0 <= begin <= end <= len(text) for begin, end in encoding.offsets)
        assert [begin for begin, _ in encoding.offsets] == sorted(begin for begin, _ in encoding.offsets)


def test_known_words_lead_back_to_their_places(each_kind, documents):
    for text, encoding in zip(documents, each_kind.encode_batch(documents), strict=True):
        for index, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
            assert text[begin:end].lower() == each_kind.text_of(index)


def test_words_begin_where_no_piece_continues_one(each_kind):
    text = "The cat sat on a matwhile dogs werenet"
    ids = each_kind.ids_batch([text])[0]
    words, continues = [], each_kind.continuation[ids]
    for index, joined in zip(ids, continues, strict=True):
        words = [*words[:-1], words[-1] + each_kind.text_of(index)] if joined else [*words, each_kind.text_of(index)]
    assert words == text.lower().split()
    assert continues.any() and not each_kind.continuation[list(each_kind.special_ids)].any()


def test_special_tokens_written_in_a_text_are_recognised(each_kind):
    text = "The cat [MASK] on a mat[SEP]  [UNK]the"
    (encoding,) = each_kind.encode_batch([text])
    places = dict(zip(encoding.offsets, encoding.ids, strict=True))
    for token in ("[MASK]", "[SEP]", "[UNK]"):
        begin = text.index(token)
        assert places[begin, begin + len(token)] == each_kind.special_ids[each_kind.special_tokens.index(token)]
    around = each_kind.ids_batch(["The cat", " on a mat", "the"])
    assert encoding.ids == [*around[0], 4, *around[1], 3, 1, *around[2]]


def test_texts_without_anything_have_no_ids(each_kind):
    assert each_kind.ids_batch(["", "  \n\t\u3000", "\x01"]) == [[], [], []]
    assert each_kind.ids_batch([]) == [] == each_kind.encode_batch([])


def test_decode_gives_the_words_back_without_special_tokens(each_kind):
    ids = each_kind.ids_batch(["The cat sat on a mat"])[0]
    assert each_kind.decode([2, *ids, 3, 0, 0]) == "the cat sat on a mat"


def test_it_can_be_sent_to_another_process_after_its_use(each_kind, documents):
    before = each_kind.ids_batch(documents)
    sent = pickle.loads(pickle.dumps(each_kind))
    assert sent.ids_batch(documents) == before
    assert sent.fingerprint() == each_kind.fingerprint()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_saved_and_loaded_it_is_the_same(trained, documents, tmp_path, kind, lowercase):
    tokenizer = trained(kind, lowercase)
    tokenizer.save(tmp_path)
    assert tokenizer.lowercase == lowercase
    assert tokenizer.ids_batch(["CAT"]) != tokenizer.ids_batch(["cat"]) or lowercase
    for name in (".", "tokenizer.json", "vocab.txt" if kind == "wordpiece" else "spiece.model"):
        loaded = load_tokenizer(tmp_path / name)
        assert type(loaded) is type(tokenizer)
        assert loaded.fingerprint() == tokenizer.fingerprint()
        assert loaded.lowercase == lowercase
        assert loaded.ids_batch(documents) == tokenizer.ids_batch(documents)


def test_fingerprints_tell_kinds_and_case_apart(trained):
    prints = {trained(kind, lowercase).fingerprint() for kind in KINDS for lowercase in (True, False)}
    assert len(prints) == 2 * len(KINDS)


def test_the_order_of_documents_does_not_matter(trained, documents):
    for kind in ("unigram", "bpe"):
        once = trained(kind)
        again = train_tokenizer(documents[::-1], once.vocab_size, kind=kind)
        assert again.fingerprint() == once.fingerprint()


def test_a_folder_with_nothing_in_it_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"neither tokenizer\.json nor vocab\.txt nor a SentencePiece \.model"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match=r"gone\.model: no such tokenizer file"):
        load_tokenizer(tmp_path / "gone.model")
