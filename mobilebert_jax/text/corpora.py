"""Corpora by name: where documents come from."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilebert_jax.text import python_docs
from mobilebert_jax.text.corpus import STRICT, Corpus, Walk
from mobilebert_jax.text.hugging_face import open_hugging_face
from mobilebert_jax.text.selection import Selected, Selection
from mobilebert_jax.text.text_corpus import open_text
from mobilebert_jax.text.tfds_corpus import open_tfds
from mobilebert_jax.utils.errors import UserError

# A weight, a star and a kind of source with its colon begin a part of a mixture: `2*.txt` is a glob.
_PART = re.compile(r"(?:^|\+)(?P<weight>[0-9.]+(?:[eE]-?[0-9]+)?)\*(?=[A-Za-z]\w+:)")


def open_corpus(spec: str, selection: Selection | None = None, streaming: bool = False, errors: str = STRICT) -> Corpus:
    """The corpus that `spec` names, without the documents that `selection` leaves out.

    One source (see `open_source`), or several with weights: `0.8*hf:./wiki#text+0.2*text:books/*.txt`; what the weights
    mean is said at `Selected`. Raises UserError for a source that cannot be opened; reading raises it for one that is
    damaged or empty.
    """
    parts = list(_PART.finditer(spec))
    selection = selection or Selection()
    if not parts:
        source = open_source(spec, streaming, errors)
        return source if selection == Selection() else Selected(spec, (source,), (1.0,), selection)
    if parts[0].start() > 0:
        raise UserError(
            f"corpus {spec!r}: {spec[: parts[0].start()]!r} has no weight; a mixture gives one to every part"
        )
    weights = tuple(_weight(part["weight"], spec) for part in parts)
    ends = [part.start() for part in parts[1:]] + [len(spec)]
    sources = tuple(open_source(spec[a.end() : b], streaming, errors) for a, b in zip(parts, ends, strict=True))
    return Selected(spec, sources, weights, selection)


def open_source(spec: str, streaming: bool = False, errors: str = STRICT) -> Corpus:
    """A single source: `builtin:`, `text:`, `hf:`, `tfds:`, or a path, which means `text:`.

    `streaming` is for data sets on the hub: read over the network each time instead of downloaded. `errors` is one of
    `ERRORS`, for text files and tfds records. Raises UserError for
    an unknown kind and for whatever the kind's own `open_...` refuses.
    """
    scheme, colon, rest = spec.partition(":")
    if spec == "builtin:python-docs":
        return PythonDocs(spec)
    if scheme == "builtin":
        raise UserError(f"corpus {spec!r}: there is no such builtin corpus; builtin:python-docs is the one there is")
    if scheme == "text" and colon:
        return open_text(spec, rest, errors)
    if scheme == "hf" and colon:
        return open_hugging_face(spec, rest, streaming)
    if scheme == "tfds" and colon:
        return open_tfds(spec, rest, errors)
    if colon and scheme.isalnum() and len(scheme) > 1 and not Path(spec).exists():
        raise UserError(
            f"corpus {spec!r}: unknown scheme {scheme!r}; the kinds of sources are text:, hf:, tfds: and "
            "builtin:python-docs; the path of a text file needs none"
        )
    return open_text(spec, spec, errors)


@dataclass(frozen=True)
class PythonDocs:
    """The prose that comes with Python."""

    spec: str
    walk: Walk = field(default_factory=Walk, compare=False, repr=False)

    @property
    def identity(self) -> dict[str, Any]:
        """Nothing: the environment, which a run notes, says which Python it was."""
        return {}

    def __iter__(self) -> Iterator[str]:
        for self.walk.done, document in enumerate(python_docs.documents(), start=1):
            yield document

    def progress(self) -> float | None:
        """By documents."""
        return self.walk.of(len(python_docs.documents()))


def _weight(text: str, spec: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UserError(f"corpus {spec!r}: the weight {text} must be a number above 0")
    return weight
