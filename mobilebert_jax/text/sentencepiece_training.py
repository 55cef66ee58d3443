"""Learns a SentencePiece model, unigram or BPE, the same one every time."""

import io
import re
from collections import Counter
from collections.abc import Iterable

import sentencepiece

from mobilebert_jax.text.sentencepiece_model import replace_normalizer, replace_scores
from mobilebert_jax.text.sentencepiece_rule import compiled_rule
from mobilebert_jax.text.special_tokens import SPECIAL_TOKENS
from mobilebert_jax.utils.errors import UserError

KINDS = ("unigram", "bpe")
COVERAGE = 0.9995
"""Share of the text's characters that get a piece of their own; the rarest beyond it become [UNK]."""

THREADS = 16
"""Sums of a unigram's training are made in so many parts, whatever the cores: another number, another rounding."""


def train_model(
    texts: Iterable[str], vocab_size: int, kind: str, lowercase: bool = True, coverage: float = COVERAGE
) -> bytes:
    """A .model file's bytes with exactly `vocab_size` pieces, learnt from `texts`, which are read once.

    [PAD] is 0, then [UNK], [CLS], [SEP], [MASK]. What is kept of the texts is how often each word occurs, so memory
    goes with the number of different words. Raises UserError when the texts hold no words, or too few pieces or too
    many characters for `vocab_size`.
    """
    rule = compiled_rule(lowercase)
    counts = count_words(texts, rule)
    if not counts:
        raise UserError("no words to train a tokenizer on: the corpus is empty")
    pad, unk, *others = SPECIAL_TOKENS
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{n}" for word, n in sorted(counts.items())),
            input_format="tsv",
            model_writer=model,
            model_type=kind,
            vocab_size=vocab_size,
            character_coverage=coverage,
            normalization_rule_name="identity",  # the words are normalised
            num_threads=THREADS,
            minloglevel=2,
            control_symbols=others,
            **{"pad_id": 0, "pad_piece": pad, "unk_id": 1, "unk_piece": unk, "bos_id": -1, "eos_id": -1},
        )
    except RuntimeError as error:
        raise _refusal(vocab_size, str(error)) from error
    return _finished(model.getvalue(), rule)


def count_words(texts: Iterable[str], rule: sentencepiece.SentencePieceNormalizer) -> Counter[str]:
    """How often each word occurs, after normalising; words are what stands between spaces."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(rule.normalize(text.encode("utf-8", "replace").decode("utf-8")).split(" "))
    del counts[""]
    return counts


def _finished(model: bytes, rule: sentencepiece.SentencePieceNormalizer) -> bytes:
    """The trainer's model with the rule by which the words were normalised, and with scores that add up exactly.

    Two ways to cut a word may have the same pieces in another order: `xi ii` and `ii xi`. Rounding in long sums would
    choose between them, SentencePiece's in another way than the tokenizers library's; sums of 256ths are not rounded.
    """
    finished = sentencepiece.SentencePieceNormalizer(
        normalizer_spec=rule.serialized_normalizer_spec(),
        add_dummy_prefix=True,
        escape_whitespaces=True,
        remove_extra_whitespaces=True,
    )
    model = replace_normalizer(model, finished.serialized_normalizer_spec())
    return replace_scores(model, lambda score: round(score * 256) / 256)


def _refusal(vocab_size: int, message: str) -> UserError:
    """The trainer's error in a line."""
    if most := re.search(r"set it to a value <= (\d+)", message):
        return UserError(f"vocab_size={vocab_size} is too large: this text gives at most {most[1]} pieces")
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"vocab_size={vocab_size} is too small: special tokens and alphabet alone are {least[1]} "
            "(a smaller coverage leaves rare characters out)"
        )
    return UserError(f"vocab_size={vocab_size}: SentencePiece cannot train on this text ({' '.join(message.split())})")
