"""Host batches in order, made ahead of time in threads by Grain."""

from collections.abc import Callable, Iterator

import grain

from mobilebert_jax.utils.types import Batch


def iterate(
    make_batch: Callable[[int], Batch], start: int, stop: int, threads: int = 1, prefetch: int = 2
) -> Iterator[Batch]:
    """`make_batch(step)` for step = start .. stop - 1, in order, made on `threads` threads `prefetch` batches ahead.

    An exception of `make_batch` is raised here. Closing the iterator, or dropping it, ends its threads.
    """
    dataset = grain.MapDataset.range(start, stop).map(make_batch)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(prefetch, threads))
    batches = iter(dataset.to_iter_dataset(options))
    try:
        yield from batches
    finally:
        batches.close()
