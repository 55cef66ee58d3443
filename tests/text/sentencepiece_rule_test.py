import re

import pytest
import sentencepiece
from tokenizers import Regex, normalizers

from mobilebert_jax.text.sentencepiece_rule import (
    BLANK,
    GONE,
    compiled_rule,
    every_character,
    probe,
    rule_normalizers,
    token_span,
)


def steps(lowercase):
    ends = [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    return normalizers.Sequence([*rule_normalizers(lowercase), *ends])


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def both(request):
    """The rule as SentencePiece has it and as the tokenizers library has it."""
    return compiled_rule(request.param), steps(request.param)


def test_both_libraries_make_the_same_of_every_character(both):
    ours, theirs = both
    assert ours.normalize(probe()) == theirs.normalize_str(probe())


@pytest.mark.parametrize(
    "text",
    [
        "  The  Café\tE\u0301lan \n",
        "X\u0304 x\u0304 o\u0302\u0301 a\u0323\u0302",
        "カ\u3099 は\u309a 각 \u1100\u1161\u11a8",
        "\uff46\uff55 \uff5e ½ ﬁ № ㎏ İstanbul ΟΔΟΣ ẞ",
        "يسَمَّى ش\u0651\u064e",
        "👩\u200d👩\u200d👧 🐱 a\u200db a\u200bb",
        "\x01a\x7fb\ufeffc\ufffd",
    ],
)
def test_both_libraries_make_the_same_of_words(both, text):
    ours, theirs = both
    assert ours.normalize(text) == theirs.normalize_str(text)


def test_what_goes_and_what_is_blank_is_what_sentencepiece_says():
    known = dict(sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").decompile())
    for inside, becomes in ((GONE, ""), (BLANK, " ")):
        found = re.findall(f"[{inside}]", "".join(every_character()))
        assert set(found) - {"\x85"} == {source for source, text in known.items() if text == becomes}


def test_the_cased_rule_is_nmt_nfkc_but_for_characters_it_does_not_know_yet():
    theirs = sentencepiece.SentencePieceNormalizer(
        rule_name="nmt_nfkc", add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=True
    )
    ours = compiled_rule(False)
    text = "\ue000".join(chr(code) for code in range(1, 0x2FFF) if code != 0x85)
    assert ours.normalize(text) == theirs.normalize(text)


@pytest.mark.parametrize(
    ("text", "span", "alone", "expected"),
    [
        ("a  cat", (1, 6), False, (3, 6)),
        ("a \u200b\u3000cat", (1, 7), False, (4, 7)),
        ("a 你", (1, 2), True, (2, 2)),
        ("你", (0, 1), True, (0, 0)),
        ("½", (0, 0), False, (0, 1)),
        ("a ½", (1, 2), False, (2, 3)),
        ("a", (1, 1), False, (1, 1)),
    ],
)
def test_a_token_has_its_own_characters_and_no_blanks(text, span, alone, expected):
    assert token_span(text, *span, alone) == expected
