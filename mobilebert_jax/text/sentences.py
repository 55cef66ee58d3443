"""Splits English paragraphs into sentences, by rules."""

# ruff: noqa: RUF001 (typographic quotes and full-width stops are meant)
import re

# Final punctuation with the quotes and brackets that close behind it, then space, then what may open a sentence; or a
# full-width stop. The possessive quantifiers (and the look behind) keep long runs of dots linear.
_BOUNDARY = re.compile(
    r"""(?<![.!?…])(?P<stop>[.!?…]++)["'”’»)\]]*+\s++(?=["'“‘«(\[]*+(?P<next>\w*))"""
    r"""|(?P<wide>[。！？｡]++[」』”’）]*+)"""
)
_WORD_BEFORE = re.compile(r"[\w.'’-]*\Z")
_LOOK_BACK = 40
"""Characters before a stop that are looked at: longer words are no abbreviations."""

# Never the end of a sentence.
_ABBREVIATIONS = frozenset(
    "mr mrs ms mx dr prof mt ft fr rev hon gov sen gen col maj capt cmdr lt sgt cpl pvt adm messrs mmes "
    "v vs cf viz al e.g i.e eg ie c ca approx resp eq eqs vol vols pp ed eds trans".split()
)
# The end only when a word follows that seldom stands inside a sentence with a capital letter.
_POSSIBLE_ENDS = frozenset(
    "etc inc ltd co corp bros jr sr esq st dept univ rep pres jan feb apr jun jul aug sept sep oct nov dec "
    "mon tue tues wed thu thurs fri ph.d m.d b.a m.a a.m p.m a.d b.c b.c.e u.s u.k u.n".split()
)
_STARTERS = frozenset(
    "the this that these those there they he she it we you i in on at by for from with as but and or if when while "
    "where after before since during although though however his her its their our my a an all both each some many "
    "most no not such then thus what who why how one two".split()
)
# Words as well ("He said no."): abbreviations before a figure only.
_BEFORE_FIGURES = frozenset("no nos fig figs art op p ch sec mar sat sun".split())


def split_sentences(paragraph: str) -> list[str]:
    """The paragraph's sentences, stripped, in order, none empty; joined by spaces they hold all its words.

    Linear in the paragraph's length. Knows abbreviations, initials, decimals, quotes, list numbers, full-width stops.
    """
    sentences = []
    start = 0
    for match in _BOUNDARY.finditer(paragraph):
        if match["wide"] or _ends_sentence(paragraph, start, match):
            sentences.append(paragraph[start : match.end()].strip())
            start = match.end()
    sentences.append(paragraph[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(paragraph: str, start: int, match: re.Match[str]) -> bool:
    following = match["next"]
    if following[:1].islower():
        return False
    if match["stop"] != ".":
        return True
    before = _WORD_BEFORE.search(paragraph, max(start, match.start() - _LOOK_BACK), match.start())
    word = before.group()
    if before.start() == start and (word.isdigit() or len(word) == 1):
        return False  # "1. Introduction" numbers a paragraph or an item
    lowered = word.lower()
    starts = following.lower() in _STARTERS
    if len(word) == 1 and word.isupper():  # an initial
        return starts
    if lowered in _BEFORE_FIGURES:
        return not following[:1].isdigit()
    if lowered in _ABBREVIATIONS:
        return False
    return starts or lowered not in _POSSIBLE_ENDS
