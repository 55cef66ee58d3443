"""What preparing a corpus will cost in disk and time, judged by its beginning."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mobilebert_jax.text.encoding import encode_in_order
from mobilebert_jax.text.preparation import Preparation, estimated_total, existing_folder, stored_bytes
from mobilebert_jax.text.shards import Cutter
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.cores import cores

SAMPLE_BYTES = 16_000_000


@dataclass(frozen=True)
class Estimate:
    """Sizes in bytes; `total` and what follows from it are None where nobody knows how large the corpus is.

    `rate` is bytes of text a second with `workers` processes, on this machine as busy as it is now.
    """

    sample: int
    whole: bool
    tokens_a_byte: float
    stored_a_byte: float
    rate: float
    workers: int
    total: float | None
    free: int

    @property
    def disk(self) -> float | None:
        """Bytes that the store will take."""
        return None if self.total is None else self.total * self.stored_a_byte

    @property
    def seconds(self) -> float | None:
        """How long it will take, the training of a tokenizer aside."""
        return None if self.total is None else self.total / self.rate


def estimate(
    folder: Path, corpus: Iterable[str], tokenizer_of: Callable[[list[str]], Tokenizer], preparation_of, workers: int
) -> Estimate:
    """Reads and tokenizes the beginning of `corpus`, writes nothing.

    `tokenizer_of` makes a tokenizer from the sample, or gives the one that is there; `preparation_of(corpus,
    tokenizer)` makes a `Preparation`. `folder` is where the store would lie.
    """
    documents, sample = [], 0
    walk = iter(corpus)
    for document in walk:
        documents.append(document)
        sample += len(document.encode("utf-8", "replace"))
        if sample >= SAMPLE_BYTES:
            break
    total, whole = estimated_total(corpus, sample), next(walk, None) is None
    preparation: Preparation = preparation_of(documents, tokenizer_of(documents))
    tokens, stored, rate = _measured(preparation, workers)
    free = shutil.disk_usage(existing_folder(folder)).free
    return Estimate(
        sample, whole, tokens / sample, stored / sample, rate, workers or cores(), sample if whole else total, free
    )


def _measured(preparation: Preparation, workers: int) -> tuple[int, int, float]:
    """(tokens, bytes on the disk, bytes of text a second once all processes run)."""
    tokens = stored = 0
    times: list[tuple[float, int]] = [(time.perf_counter(), 0)]
    done = 0
    for piece, encoded in encode_in_order(preparation.encoder, _pieces(preparation), workers):
        tokens += sum(len(side.tokens) for side in encoded.values())
        stored += sum(map(stored_bytes, encoded.values()))
        done += piece.bytes
        times.append((time.perf_counter(), done))
    # Until then processes were starting.
    start, before = times[len(times) // 2 if len(times) > 16 else 0]
    return tokens, stored, (done - before) / max(1e-9, times[-1][0] - start)


def _pieces(preparation: Preparation) -> Iterator:
    return iter(Cutter(preparation.corpus, preparation.shard_bytes, lambda shard: True))
