from collections import Counter

import pytest
from tokenizers import normalizers

from mobilebert_jax.text.wordpiece_training import choose_alphabet, count_words, repeat_words, train_vocabulary
from mobilebert_jax.utils.errors import UserError

LOWER = normalizers.BertNormalizer(lowercase=True)
SPECIAL = ("[PAD]", "[UNK]")


def test_words_are_counted_after_normalising_and_overlong_ones_left_out():
    assert count_words(["The thé, THE", "x" * 101], LOWER) == {"the": 3, ",": 1}


def test_alphabet_keeps_the_most_frequent_pieces_sorted():
    assert choose_alphabet(Counter({"ab": 5, "ba": 3, "z": 1}), limit=3) == ["##a", "##b", "a"]
    assert choose_alphabet(Counter({"ab": 5, "z": 1}), limit=9) == ["##b", "a"]


def test_repeated_words_give_back_the_counts():
    counts = Counter({"a": 7, "bc": 2})
    texts = list(repeat_words(counts, most=3))
    assert max(len(text.split()) for text in texts) == 3
    assert Counter(" ".join(texts).split()) == counts


def test_frequent_words_become_pieces_and_specials_lead():
    vocabulary = train_vocabulary(["low lower lowest"] * 5, 40, LOWER, SPECIAL)
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert [vocabulary[token] for token in SPECIAL] == [0, 1]
    assert "low" in vocabulary


def test_words_with_rare_characters_teach_nothing():
    vocabulary = train_vocabulary(["abab " * 50, "q"], 40, LOWER, SPECIAL)
    assert "q" not in vocabulary
    assert "abab" in vocabulary


def test_empty_text_and_tiny_vocabularies_are_refused():
    with pytest.raises(UserError, match="no words"):
        train_vocabulary(["", " \n"], 100, LOWER, SPECIAL)
    with pytest.raises(UserError, match="vocab_size=2 is too small"):
        train_vocabulary(["some words here"] * 3, 2, LOWER, SPECIAL)
