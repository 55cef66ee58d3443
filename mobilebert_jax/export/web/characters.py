"""The kinds of characters as the tokenizers library has them, for a page whose browser knows another Unicode."""

from collections.abc import Iterable
from itertools import chain

from tokenizers import normalizers, pre_tokenizers

SURROGATES = range(0xD800, 0xE000)
PLANES = (0, 1, 2, 3, 14, 15, 16)
"""Those of Unicode that have characters; the last two have nothing but private ones, all alike."""


def character_kinds() -> dict[str, list[int]]:
    """`[first, last, first, last, ...]`, ascending code points, of every kind that BERT's steps tell apart.

    `space` and `punctuation` end a word, `removed` are dropped from any text and `accent` where accents are stripped,
    `ideograph` are words of their own.
    """
    planes = [[chr(code) for code in range(plane << 16, plane + 1 << 16) if code not in SURROGATES] for plane in PLANES]
    every, text = list(chain(*planes[:-2])), "".join(chain(*planes))
    space = {character for character in every if character.isspace() and _pieces(f"a{character}a") == ["a", "a"]}
    spaced, stripped = _normalizer(handle_chinese_chars=True), _normalizer(strip_accents=True)
    # Between letters, so that a piece of one character that is no letter stands alone by itself.
    alone = {piece for piece in _pieces("".join(f"a{character}a " for character in every)) if len(piece) == 1}
    return {
        "space": _ranges(space),
        "removed": _ranges(
            set(text) - set(_normalizer(clean_text=True).normalize_str(text)) - _turned_to_blanks(space)
        ),
        "ideograph": _ranges(character for character in every if len(spaced.normalize_str(character)) == 3),
        "accent": _ranges(character for character in every if not stripped.normalize_str(character)),
        "punctuation": _ranges(alone - {"a"}),
    }


def _normalizer(**steps: bool) -> normalizers.BertNormalizer:
    """With these steps alone."""
    none = dict.fromkeys(("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"), False)
    return normalizers.BertNormalizer(**none | steps)


def _pieces(text: str) -> list[str]:
    return [piece for piece, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)]


def _turned_to_blanks(space: set[str]) -> set[str]:
    clean = _normalizer(clean_text=True)
    return {character for character in space if clean.normalize_str(character) == " "}


def _ranges(characters: Iterable[str]) -> list[int]:
    found: list[int] = []
    for code in sorted(map(ord, characters)):
        if found and found[-1] == code - 1:
            found[-1] = code
        else:
            found += [code, code]
    return found
