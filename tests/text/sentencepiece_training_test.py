import os
import subprocess
import sys

import pytest
import sentencepiece

from mobilebert_jax.text.sentencepiece_model import parse_model
from mobilebert_jax.text.sentencepiece_rule import compiled_rule
from mobilebert_jax.text.sentencepiece_training import KINDS, count_words, train_model
from mobilebert_jax.utils.errors import UserError

PROGRAM = """
import hashlib, sys
from mobilebert_jax.text.sentencepiece_training import train_model
words = [f'{a}{b}{c}' for a in 'abcde' for b in 'fghij' for c in 'klmno']
texts = [' '.join(words[i:] + words[:7 * i]) for i in range(len(words))]
print(*(hashlib.sha256(train_model(texts, 40, kind)).hexdigest() for kind in ('unigram', 'bpe')))
"""


def test_training_gives_the_same_model_in_every_process_on_any_number_of_cores():
    outputs = []
    for cores in (os.sched_getaffinity(0), {min(os.sched_getaffinity(0))}):
        done = subprocess.run(
            [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {set(cores)})\n{PROGRAM}"],
            capture_output=True,
            text=True,
        )
        outputs.append(done.stdout)
        assert not done.returncode, done.stderr
    assert outputs[0] == outputs[1] != ""


@pytest.mark.parametrize("kind", KINDS)
def test_words_become_pieces(kind, documents):
    size = {"unigram": 60, "bpe": 120}[kind]
    model = parse_model(train_model(documents, size, kind), "model")
    assert model.kind == kind and len(model.pieces) == size
    assert [piece.text for piece in model.pieces[:5]] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert any(piece.text.startswith("▁") and len(piece.text) > 3 for piece in model.pieces)


def test_scores_of_a_unigram_add_up_without_rounding(documents):
    model = parse_model(train_model(documents, 60, "unigram"), "model")
    assert all(piece.score * 256 == round(piece.score * 256) for piece in model.pieces)
    assert len({piece.score for piece in model.pieces}) > 10


@pytest.mark.parametrize(("lowercase", "expected"), [(True, "▁élan▁fi▁ß"), (False, "▁Élan▁fi▁ß")])
def test_case_is_lost_where_asked_and_nothing_else(documents, lowercase, expected):
    model = train_model(documents, 60, "bpe", lowercase)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert processor.normalize("  E\u0301lan\tﬁ ß ") == expected


def test_rare_characters_are_covered_or_not():
    texts = ["abc abc abd bcd " * 200 + "z"]
    wide, narrow = (
        [piece.text for piece in parse_model(train_model(texts, 14, "bpe", coverage=share), "model").pieces]
        for share in (1.0, 0.98)
    )
    assert "z" in wide and "z" not in narrow


def test_words_are_counted_as_they_will_be_encoded():
    counts = count_words(["The\tcat,  the CAT\nTHE\u3000ﬁn\ud800", "", " "], compiled_rule(True))
    assert counts == {"the": 3, "cat,": 1, "cat": 1, "fin?": 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("texts", "vocab_size", "message"),
    [
        (["the cat sat"] * 9, 1000, r"vocab_size=1000 is too large: this text gives at most \d+ pieces$"),
        (["the cat sat"] * 9, 8, r"vocab_size=8 is too small: special tokens and alphabet alone are 12 "),
        (["the cat sat"] * 9, 0, r"vocab_size=0"),
        ([" \n", ""], 50, "no words to train a tokenizer on"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(kind, texts, vocab_size, message):
    with pytest.raises(UserError, match=message) as error:
        train_model(texts, vocab_size, kind)
    assert "\n" not in str(error.value)
