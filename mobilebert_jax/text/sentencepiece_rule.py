"""How text is prepared for the SentencePiece models that are trained here.

NFKC, control characters out, every kind of white space a space, and for uncased models lower case, nothing else
(accents stay). That is SentencePiece's `nmt_nfkc`, but defined by the tokenizers library, whose NFKC and lower case may
know other versions of Unicode: what both libraries make of a text is then the same, character by character.
"""

import re
import unicodedata
from functools import cache

import sentencepiece
from tokenizers import Regex, normalizers

GONE = "\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f"
BLANK = "\t\n\f\r\u0085\u00a0\u061c\u1680\u2000-\u200c\u200e\u200f\u2028\u2029\u202f\u205f\u2581\u3000\ufeff\ufffd"
"""What `nmt_nfkc` leaves out, and what it takes for a space, with U+0085 (next line), which it forgets.

Both are insides of a regular expression's brackets.
"""

_BLANKS = re.compile(f"[\\s{BLANK}{GONE}]*")
_BETWEEN = "\ue000"  # for private use: no character joins with it


def rule_normalizers(lowercase: bool) -> list[normalizers.Normalizer]:
    """The rule as normalisers of the tokenizers library; transformers.js has each of these kinds, too."""
    steps = [
        normalizers.Replace(Regex(f"[{GONE}]"), ""),
        normalizers.Replace(Regex(f"[{BLANK}]"), " "),
        normalizers.NFKC(),
    ]
    return [*steps, normalizers.Lowercase()] if lowercase else steps


@cache
def rule_map(lowercase: bool) -> list[tuple[str, str]]:
    """What becomes of every character, and of every sequence with combining marks that `nmt_nfkc` knows: the changes.

    Two marks of Hebrew or Arabic change places, too, where NFKC wants the other order: few people type that one.
    """
    known = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").decompile()
    sources = [*every_character(), *(source for source, _ in known if len(source) > 1)]
    marks = [chr(code) for code in range(0x591, 0x700) if unicodedata.combining(chr(code))]
    sources += [a + b for a in marks for b in marks if unicodedata.combining(a) > unicodedata.combining(b)]
    return [(source, text) for source, text in zip(sources, _apply(sources, lowercase), strict=True) if text != source]


def compiled_rule(lowercase: bool) -> sentencepiece.SentencePieceNormalizer:
    """The rule as SentencePiece's normaliser, which writes no marks and leaves single spaces between words."""
    sentencepiece.set_min_log_level(2)  # it tells the sizes of its tables
    return sentencepiece.SentencePieceNormalizer(
        norm_map=rule_map(lowercase), add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=True
    )


def every_character() -> list[str]:
    """Unicode, without the null character, halves of surrogate pairs, private use and planes still empty."""
    ranges = (1, 0xD800), (0xF900, 0x40000), (0xE0000, 0xE1000)
    return [chr(code) for begin, end in ranges for code in range(begin, end)]


def _apply(texts: list[str], lowercase: bool) -> list[str]:
    """Every text by the rule, all at once."""
    rule = normalizers.Sequence(rule_normalizers(lowercase))
    return rule.normalize_str(_BETWEEN.join(texts)).split(_BETWEEN)


def probe() -> str:
    """Every character, apart from its neighbours: two normalisers that make the same of it are the same rule."""
    return _BETWEEN.join(every_character())


def token_span(text: str, begin: int, end: int, mark_alone: bool) -> tuple[int, int]:
    """Where a token's own characters are, given the range that a library says it came from.

    The space that became the mark of a word's beginning is left out; a mark that is a token of its own has an empty
    range where the word begins. Of several tokens that one character became, as 1/2 does, each has that character.
    """
    first = _BLANKS.match(text, begin, end).end()
    if mark_alone:
        return first, first
    return first, max(end, min(first + 1, len(text)))
