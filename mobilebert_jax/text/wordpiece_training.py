"""Learns a WordPiece vocabulary, the same one every time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from mobilebert_jax.utils.errors import UserError

LONGEST_WORD = 100
"""Characters; longer words become [UNK] when encoded, so nothing is learnt from them."""


def train_vocabulary(
    texts: Iterable[str], vocab_size: int, normalizer: normalizers.Normalizer, special_tokens: Sequence[str]
) -> dict[str, int]:
    """`{piece: id}` with at most `vocab_size` pieces: special tokens, alphabet, then pieces by merging frequent pairs.

    The library's trainer numbers continuation characters in the order of a randomly seeded hash map, and ties between
    equally frequent pairs are broken by these numbers: two trainings on one text differ. Here words are counted first
    and the alphabet, sorted, is handed over with the special tokens, which keep their order.
    Raises UserError when there are no words or no room.
    """
    counts = count_words(texts, normalizer)
    if not counts:
        raise UserError("no words to train a tokenizer on: the corpus is empty")
    alphabet = choose_alphabet(counts, limit=vocab_size // 4)
    first = [*special_tokens, *alphabet]
    if vocab_size <= len(first):
        raise UserError(f"vocab_size={vocab_size} is too small: special tokens and alphabet alone are {len(first)}")
    known = set(alphabet)
    counts = Counter({word: n for word, n in counts.items() if known.issuperset(split_characters(word))})
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=first, show_progress=False
    )
    learner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(repeat_words(counts), trainer)
    return learner.get_vocab()


def count_words(texts: Iterable[str], normalizer: normalizers.Normalizer) -> Counter[str]:
    """How often each word occurs, after normalising and splitting as BERT does."""
    splitter = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    return Counter({word: n for word, n in counts.items() if len(word) <= LONGEST_WORD})


def split_characters(word: str) -> list[str]:
    """'cats' as 'c', '##a', '##t', '##s': what merging starts from."""
    return [word[0], *(f"##{character}" for character in word[1:])]


def choose_alphabet(counts: Counter[str], limit: int) -> list[str]:
    """The `limit` most frequent single-character pieces that occur at least twice, in sorted order."""
    pieces: Counter[str] = Counter()
    for word, n in counts.items():
        for piece in split_characters(word):
            pieces[piece] += n
    ranked = sorted((-n, piece) for piece, n in pieces.items() if n > 1)
    return sorted(piece for _, piece in ranked[:limit])


def repeat_words(counts: Counter[str], most: int = 10_000) -> Iterator[str]:
    """Texts in which every word stands as often as it was counted, at most `most` of them a text."""
    for word, n in counts.items():
        for done in range(0, n, most):
            yield " ".join([word] * min(most, n - done))
