"""Which documents of the sources become the corpus: shares of a mixture, least length, duplicates, how many."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from mobilebert_jax.text.corpus import Corpus, Walk
from mobilebert_jax.text.seen import Seen
from mobilebert_jax.utils.errors import UserError


@dataclass(frozen=True)
class Selection:
    """What is left out of a corpus; the defaults leave out nothing."""

    min_characters: int = 0
    drop_duplicates: bool = False
    max_documents: int = 0

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        fields = ("min_characters", "drop_duplicates", "max_documents")
        return {name: getattr(self, name) for name in fields if getattr(self, name)}

    def keep(self) -> Callable[[str], bool]:
        """A new test for one walk through the documents: long enough, and not seen before in this walk."""
        seen = Seen() if self.drop_duplicates else None
        return lambda text: len(text) >= self.min_characters and (seen is None or seen.add(text))


@dataclass(frozen=True)
class Selected:
    """Documents of one source or of several, by weight.

    A weight is a share of the text: the next document comes from the source whose characters so far, divided by its
    weight, are fewest (the first of equals). Thus at every moment, and in the whole, the sources' characters stand to
    each other as their weights do, to within one document. The corpus ends where the source whose turn it is has no
    more documents: none is repeated, and what is left of the others is not used. Nothing here is random.

    Documents that are left out are left out before they are counted. An identical document counts where it comes first.
    """

    spec: str
    sources: Sequence[Corpus]
    weights: Sequence[float]
    selection: Selection
    walk: Walk = field(default_factory=Walk, compare=False, repr=False)

    @property
    def identity(self) -> dict[str, Any]:
        """The sources' fingerprints, in order, and the selection's settings."""
        prints = [source.identity.get("corpus_fingerprint", source.spec) for source in self.sources]
        known = any(source.identity for source in self.sources)
        others = {name: value for source in self.sources for name, value in source.identity.items()}
        return others | ({"corpus_fingerprint": "+".join(prints)} if known else {}) | self.selection.identity

    def __iter__(self) -> Iterator[str]:
        self.walk.done = 0
        for document in islice(self._mixed(), self.selection.max_documents or None):
            self.walk.done += 1
            yield document
        if not self.walk.done:
            raise UserError(
                f"corpus {self.spec!r}: every document has under {self.selection.min_characters} characters"
            )

    def progress(self) -> float | None:
        """That of the source that will end first, or of the wanted number of documents."""
        shares = [source.progress() for source in self.sources] + [self.walk.of(self.selection.max_documents)]
        return max((share for share in shares if share is not None), default=None)

    def _mixed(self) -> Iterator[str]:
        keep = self.selection.keep()
        walks = [filter(keep, source) for source in self.sources]
        taken = [0] * len(walks)
        while True:
            turn = min(range(len(walks)), key=lambda i: taken[i] / self.weights[i])
            document = next(walks[turn], None)
            if document is None:
                return
            taken[turn] += len(document)
            yield document
