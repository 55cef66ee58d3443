import pickle

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.tokenizer import load_tokenizer, train_tokenizer
from mobilebert_jax.text.word_memory import WordMemory

TEXT = (
    "The naïve café's cat, U.S.-born; re-read [12] \u00a0it\u0301s e-mail_x a\tb don't 北京 Σίσυφος İstanbul ﬁn 5.0%!"
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = st.sampled_from(
    [*TEXT, *TEXT.split(" "), " ", "[MASK]", "[", "]", "\x00", "\x1c", "\u0301", "\u2028", "\ufeff"]
)


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def tokenizer(request):
    return train_tokenizer([TEXT] * 3, 300, lowercase=request.param)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=20).map("".join)), max_size=5))
@example([TEXT, "a[MASK]b [MASK]", "", " ", "[MASK", "̈a ̈"])
def test_ids_are_those_of_the_whole_text(tokenizer, texts):
    expected = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    assert tokenizer.ids_batch(texts) == expected
    assert tokenizer.ids_batch(texts) == expected, "the second time too"


def test_other_processes_get_the_tokenizer_without_its_memory(tokenizer):
    expected = tokenizer.ids_batch([TEXT])
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert "_memory" in vars(tokenizer) and "_memory" not in vars(copy)
    assert copy.ids_batch([TEXT]) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda backend: setattr(backend, "pre_tokenizer", tokenizers.pre_tokenizers.Metaspace()),
        lambda backend: setattr(backend, "normalizer", tokenizers.normalizers.NFC()),
        lambda backend: backend.add_tokens([tokenizers.AddedToken("re-read", normalized=True)]),
    ],
)
def test_a_tokenizer_that_is_not_bert_s_remembers_nothing(tokenizer, tmp_path, change):
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    change(backend)
    backend.save(str(tmp_path / "tokenizer.json"))
    other = load_tokenizer(tmp_path / "tokenizer.json")
    texts = [TEXT, "RE-READ it", "a b"]
    assert other.ids_batch(texts) == [encoding.ids for encoding in other.encode_batch(texts)]


def test_only_new_words_are_encoded():
    asked = []

    def encode(words):
        asked.extend(words)
        return [[len(word)] for word in words]

    memory = WordMemory(encode)
    assert memory.ids_batch(["a bb, a", "bb"]) == [[1, 2, 1, 1], [2]]
    assert memory.ids_batch(["bb ccc"]) == [[2, 3]]
    assert sorted(asked) == [",", "a", "bb", "ccc"]


def test_a_full_memory_forgets():
    memory = WordMemory(lambda words: [[len(word)] for word in words], most=3)
    for text in ("a bb", "ccc dddd", "a bb ccc dddd eeeee"):
        assert memory.ids_batch([text]) == [[len(word) for word in text.split()]]
    assert not memory._known
    assert memory.ids_batch(["a"]) == [[1]] and set(memory._known) == {"a"}
