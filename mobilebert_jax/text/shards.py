"""A stream of documents cut into shards, and which of them one of several machines makes."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mobilebert_jax.utils.errors import UserError

BATCH_BYTES = 1 << 18
"""Text that is tokenized at once."""


class Share(NamedTuple):
    """Every `of`-th shard, from number `index` on."""

    index: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """`2/8` is the third of eight; UserError for anything else."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or int(found[1]) >= int(found[2]):
            raise UserError(f"--shard={text}: i/n is needed, with i from 0 to n - 1, such as 0/4")
        return cls(int(found[1]), int(found[2]))

    def has(self, shard: int) -> bool:
        """Whether the shard belongs to this share."""
        return shard % self.of == self.index


ALL = Share()


class Piece(NamedTuple):
    """Some documents of a shard, so many bytes as UTF-8; `last` ones complete it."""

    shard: int
    bytes: int
    last: bool


class Cutter:
    """Cuts documents, in their order, into shards of `shard_bytes` each, to the end of the document that fills one.

    Where a shard ends depends on the documents alone. While it is walked, `seen` are the bytes read so far, `skipped`
    those of shards that are not wanted, and `shards` how many shards have begun.
    """

    def __init__(self, documents: Iterable[str], shard_bytes: int, wanted: Callable[[int], bool]):
        self._documents, self._limit, self._wanted = documents, shard_bytes, wanted
        self.seen = self.skipped = self.shards = 0

    def __iter__(self) -> Iterator[tuple[Piece, list[str]]]:
        """Pieces of the wanted shards; the others are read and left out."""
        batch: list[str] = []
        size = in_shard = 0
        wanted = False
        for document in self._documents:
            if not in_shard:
                self.shards += 1
                wanted = self._wanted(self.shards - 1)
            length = len(document.encode("utf-8", "replace"))
            self.seen += length
            in_shard += length
            if wanted:
                batch.append(document)
                size += length
            else:
                self.skipped += length
            full = in_shard >= self._limit
            if wanted and (full or size >= BATCH_BYTES):
                yield Piece(self.shards - 1, size, full), batch
                batch, size = [], 0
            in_shard = 0 if full else in_shard
        if in_shard and wanted:
            yield Piece(self.shards - 1, size, True), batch
