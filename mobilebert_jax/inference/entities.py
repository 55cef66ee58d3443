"""Entities in a sentence's tags, by the rules of conlleval.

Tags are `O`, or a letter that says where in an entity a word stands, with its type behind a hyphen: B (begins), I
(inside), E or L (its last), S or U (alone). IOB1, IOB2, IOBES and BILOU are all written so.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

TAG = re.compile(r"O|[BIESLU](-.+)?", re.DOTALL)
GOES_ON = {"B", "I"}
CONTINUES = {"I", "E", "L"}


class EntitySpan(NamedTuple):
    """Half-open words of a sentence."""

    type: str
    start: int
    end: int


def are_entities(tags: Iterable[str]) -> bool:
    """Whether a set of tags marks entities, and is not, say, parts of speech."""
    tags = set(tags)
    return all(TAG.fullmatch(tag) for tag in tags) and any(tag[0] in "BI" for tag in tags)


def entity_spans(tags: Sequence[str]) -> list[EntitySpan]:
    """The entities of a sentence, in order.

    A word goes on with the entity before it where that began or was inside, the word is inside or last, and both have
    one type; every other word with a tag but O begins an entity. So an I after an O begins one, as in IOB1.
    """
    found: list[EntitySpan] = []
    before, type_before = "O", ""
    for place, tag in enumerate(tags):
        letter, _, kind = tag.partition("-")
        if letter != "O":
            if before in GOES_ON and letter in CONTINUES and kind == type_before:
                found[-1] = found[-1]._replace(end=place + 1)
            else:
                found.append(EntitySpan(kind, place, place + 1))
        before, type_before = letter, kind
    return found
