"""Documents to token ids, many at a time, on one core or on all."""

import contextlib
import hashlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import NamedTuple, TypeVar

import numpy as np

from mobilebert_jax.text.splitters import sentence_splitter
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.cores import cores
from mobilebert_jax.utils.errors import UserError

Key = TypeVar("Key")

ALONE = 8
"""Batches up to which starting other processes takes longer than doing the work here."""
AHEAD = 3
"""Batches a process that are read before their turn."""


class Encoded(NamedTuple):
    """Documents as ids. Sentences without tokens are left out, and so are documents of such sentences alone."""

    tokens: np.ndarray  # [tokens] uint16 or uint32
    sentence_lengths: np.ndarray  # [sentences] int64, in tokens
    document_sizes: np.ndarray  # [documents] int64, in sentences


class Encoder:
    """Documents -> `{"train": Encoded, "heldout": Encoded}`, in order on either side. Can be sent to other processes.

    A document's side is decided by a hash of its text, so it stays there whatever else the corpus holds.
    """

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype, heldout_fraction: float, sentences: str):
        self.tokenizer, self.dtype = tokenizer, dtype
        self.heldout_fraction, self.sentences = heldout_fraction, sentences

    def __call__(self, documents: list[str]) -> dict[str, Encoded]:
        """Encodes a batch of documents."""
        split = sentence_splitter(self.sentences)
        texts = [[part for paragraph in text.split("\n") for part in split(paragraph)] for text in documents]
        ids = iter(self.tokenizer.ids_batch(list(chain.from_iterable(texts))))
        sides: dict[str, list[list[list[int]]]] = {"train": [], "heldout": []}
        for text, parts in zip(documents, texts, strict=True):
            if sentences := [sentence for sentence in islice(ids, len(parts)) if sentence]:
                sides[side_of(text, self.heldout_fraction)].append(sentences)
        return {side: self._flat(found) for side, found in sides.items()}

    def _flat(self, documents: list[list[list[int]]]) -> Encoded:
        lengths = [len(sentence) for document in documents for sentence in document]
        ids = chain.from_iterable(sentence for document in documents for sentence in document)
        tokens = np.fromiter(ids, self.dtype, sum(lengths))
        return Encoded(tokens, np.array(lengths, np.int64), np.array([len(d) for d in documents], np.int64))


def side_of(text: str, heldout_fraction: float) -> str:
    """`heldout` for that share of all texts, by a hash, `train` for the others."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return "heldout" if int.from_bytes(digest, "big") < heldout_fraction * 2.0**64 else "train"


def encode_in_order(
    encoder: Encoder, batches: Iterable[tuple[Key, list[str]]], workers: int = 0
) -> Iterator[tuple[Key, dict[str, Encoded]]]:
    """`(key, encoder(documents))` for every `(key, documents)`, in order, made by `workers` processes (0: one a core).

    The first few batches are made here; a corpus that ends with them starts no process. `batches` is read a few
    batches ahead of what is given out, so memory does not grow with the corpus.
    """
    batches = iter(batches)
    head = list(islice(batches, ALONE))
    if len(head) < ALONE or workers == 1:
        yield from ((key, encoder(documents)) for key, documents in chain(head, batches))
        return
    workers = workers or cores()
    with _pool(encoder, workers) as submit:
        waiting: deque[tuple[Key, Future]] = deque()
        for key, documents in chain(head, batches):
            waiting.append((key, submit(documents)))
            if len(waiting) > AHEAD * workers:
                key, made = waiting.popleft()
                yield key, made.result()
        while waiting:
            key, made = waiting.popleft()
            yield key, made.result()


@contextlib.contextmanager
def _pool(encoder: Encoder, workers: int) -> Iterator[Callable[[list[str]], Future]]:
    # Spawned, for JAX may have started threads here, which a fork would not survive.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (encoder,))
    try:
        yield lambda documents: pool.submit(_encode, documents)
    except BrokenProcessPool as error:
        raise UserError(
            "a process that tokenizes was ended from outside, perhaps for lack of memory; start again with fewer "
            "processes (--workers), what is finished stays"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_encoder: Encoder | None = None
"""What a worker process has been given."""


def _begin(encoder: Encoder) -> None:
    """Prepares a worker process."""
    global _encoder
    _encoder = encoder
    # One core a process; a stop is its parent's business, and without a parent there is nothing to do.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _encode(documents: list[str]) -> dict[str, Encoded]:
    assert _encoder is not None
    return _encoder(documents)
