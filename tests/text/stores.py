"""Small stores for tests."""

import numpy as np

from mobilebert_jax.text.preparation import Preparation, build_store
from mobilebert_jax.text.store import SPLITS, TokenStore


class ListCorpus(list):
    """Documents with a name, so that a store made of them is known again."""

    spec = "text:list"
    identity = {}  # noqa: RUF012

    def progress(self):
        return None


def make_stores(folder, documents, tokenizer, fraction=0.3, workers=1, **settings):
    """Both sides of a store in `folder`, made where it is not there."""
    build_store(folder, Preparation(documents, tokenizer, fraction, **settings), workers=workers, progress=False)
    return {split: TokenStore.open(folder, split) for split in SPLITS}


def sentences_of(store):
    """A store's content as nested lists: documents of sentences of ids."""
    tokens = np.concatenate(store.tokens)
    ids = [part.tolist() for part in np.split(tokens, store.sentence_offsets[1:-1])]
    return [ids[a:b] for a, b in zip(store.document_offsets[:-1], store.document_offsets[1:], strict=True)]
