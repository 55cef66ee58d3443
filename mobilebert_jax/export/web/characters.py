"""The kinds of characters as the tokenizers library has them, for a page whose browser knows another Unicode."""

from collections.abc import Iterable

from tokenizers import normalizers, pre_tokenizers

FIRST_SURROGATE, LAST_SURROGATE, LAST = 0xD800, 0xDFFF, 0x10FFFF


def character_kinds() -> dict[str, list[int]]:
    """`[first, last, first, last, ...]`, ascending code points, of every kind that BERT's steps tell apart.

    `space` and `punctuation` end a word, `removed` are dropped from any text and `accent` where accents are stripped,
    `ideograph` are words of their own.
    """
    every = "".join(chr(code) for code in range(LAST + 1) if not FIRST_SURROGATE <= code <= LAST_SURROGATE)
    clean = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False
    )
    spaced = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    # A character alone between letters: what is left of them are one word, two words, or two and it.
    probe = "".join(f"a{character}a " for character in every)
    punctuation = {piece for piece, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(probe) if len(piece) == 1}
    space = {character for character in every if character.isspace() and clean.normalize_str(character) == " "}
    return {
        "space": _ranges(space),
        "removed": _ranges(set(every) - set(clean.normalize_str(every)) - space),
        "ideograph": _ranges(character for character in every if spaced.normalize_str(character) != character),
        "accent": _ranges(set(every) - set(normalizers.StripAccents().normalize_str(every))),
        "punctuation": _ranges(punctuation - {"a"}),
    }


def _ranges(characters: Iterable[str]) -> list[int]:
    found: list[int] = []
    for code in sorted(map(ord, characters)):
        if found and found[-1] == code - 1:
            found[-1] = code
        else:
            found += [code, code]
    return found
