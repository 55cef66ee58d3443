"""`builtin:python-docs`: the English prose that every Python installation carries."""

import functools
from itertools import groupby

from mobilebert_jax.text.docstring_prose import paragraphs
from mobilebert_jax.text.python_library import library_docstrings, pydoc_topics


@functools.cache
def documents() -> tuple[str, ...]:
    """One document for each pydoc topic, then for each module of the standard library; a line is a paragraph.

    A module's document has its own docstring, then those of its classes and functions in the order of the source. A
    paragraph appears once only, where it comes first. Raises UserError when this Python carries no sources.
    """
    texts = [[text] for text in pydoc_topics().values()]
    by_module = groupby(library_docstrings(), key=lambda docstring: docstring.module)
    texts.extend([docstring.text for docstring in docstrings] for _, docstrings in by_module)
    seen: set[str] = set()
    result = []
    for group in texts:
        fresh = [paragraph for text in group for paragraph in paragraphs(text) if paragraph not in seen]
        fresh = list(dict.fromkeys(fresh))
        seen.update(fresh)
        if fresh:
            result.append("\n".join(fresh))
    return tuple(result)
