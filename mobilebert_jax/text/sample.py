"""A part of a corpus that stands for all of it: paragraphs chosen by their hash."""

import hashlib
import heapq
from collections.abc import Iterable

_KEY = b"tokenizer sample"


def sample_paragraphs(documents: Iterable[str], characters: int) -> list[str]:
    """Paragraphs of together just over `characters` characters, in the corpus' order; all where there are no more.

    They are those with the smallest hashes of their text, so they come from everywhere in the corpus, and are the same
    on every machine and whatever the order of the documents. Documents are read once; what is kept is never more than
    `characters` and two paragraphs.
    """
    kept: list[tuple[int, int, str]] = []  # a heap, the largest hash first
    size = 0
    place = 0
    for document in documents:
        for paragraph in document.split("\n"):
            place += 1
            entry = (-_hash(paragraph), -place, paragraph)
            if size >= characters and entry < kept[0]:
                continue
            heapq.heappush(kept, entry)
            size += len(paragraph)
            while size - len(kept[0][2]) >= characters:
                size -= len(heapq.heappop(kept)[2])
    return [paragraph for _, _, paragraph in sorted(kept, key=lambda entry: -entry[1])]


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8, key=_KEY).digest()
    return int.from_bytes(digest, "big")
