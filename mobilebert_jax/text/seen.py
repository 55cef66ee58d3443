"""Which documents were there before, in 8 bytes each."""

import hashlib

import numpy as np

BUCKETS = 256
RECENT = 4096
"""Hashes a bucket collects before they are merged into its array."""


class Seen:
    """A set of texts that can grow to billions.

    Texts are told apart by 64 bits of a hash: among n different ones n*n / 2**65 are expected to be taken for another
    (one in 3,700 runs of 1e8 documents loses one). Memory: 8 bytes a text, and at most 120 MB for those not merged yet.
    """

    def __init__(self, recent: int = RECENT):
        self._limit = recent
        self._recent: list[set[int]] = [set() for _ in range(BUCKETS)]
        self._merged = [np.empty(0, np.uint64)] * BUCKETS

    def add(self, text: str) -> bool:
        """Adds a text; True when it is new."""
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
        number, bucket = int.from_bytes(digest, "big"), digest[0]
        recent, merged = self._recent[bucket], self._merged[bucket]
        if number in recent or _contains(merged, number):
            return False
        recent.add(number)
        if len(recent) >= self._limit:
            fresh = np.fromiter(recent, np.uint64, len(recent))
            self._merged[bucket] = np.sort(np.concatenate([merged, fresh]), kind="stable")
            recent.clear()
        return True


def _contains(values: np.ndarray, number: int) -> bool:
    position = int(np.searchsorted(values, np.uint64(number)))
    return position < len(values) and int(values[position]) == number
