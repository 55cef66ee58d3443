import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.tokenizer import train_tokenizer
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
