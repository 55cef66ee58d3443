"""`bench data`: text to tokens, tokens to examples, examples to the loop, each beside what bounds it.

Tokenizing is compared with the tokenizers library's `encode_batch_fast` on the same documents and the same cores, both
reading the same source; ours also splits sentences and writes the store. Examples are made by one thread. The loop is
the real one around a step that does nothing.
"""

import dataclasses
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import psutil
from ml_collections import ConfigDict

from mobilebert_jax.optim.optimizer import OptimizerConfig
from mobilebert_jax.recipes.data import configured_corpus, preparation_of
from mobilebert_jax.recipes.settings import check_data
from mobilebert_jax.text.examples import PretrainingExamples
from mobilebert_jax.text.packed_examples import PackedExamples
from mobilebert_jax.text.preparation import Preparation, build_store
from mobilebert_jax.text.store import TokenStore
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.training.feed import feed
from mobilebert_jax.training.loop import run_phase
from mobilebert_jax.training.metrics import read_metrics
from mobilebert_jax.training.phase import Cadence, Phase
from mobilebert_jax.training.program import LearningRate
from mobilebert_jax.training.stages import Plan, Stage
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.cores import cores
from mobilebert_jax.utils.types import Batch

Show = Callable[[str, dict[str, Any]], None]

LENGTHS = {128: 20, 512: 77}
"""Sequence length -> masks at most."""
KINDS = {
    "pairs": (PretrainingExamples, False),
    "pairs, whole words": (PretrainingExamples, True),
    "packed": (PackedExamples, False),
    "packed, whole words": (PackedExamples, True),
}
"""Name -> what makes the examples, and whether it masks whole words."""
BATCH_SIZE = 256
BATCHES = 64
"""Batches that are made in one measurement."""
STEPS, LOGGED = 1000, 200
REFERENCE_BYTES = 1 << 20
"""Text that the library tokenizes at once: whole documents, which it does fastest."""


def bench_data(config: ConfigDict, repeats: int, show: Show = lambda what, row: None) -> dict[str, Any]:
    """Rates of preparing the config's corpus, of making examples of it, and of the loop; `show` gets every row.

    `prepare`: bytes of text a second, ours and the library's, medians of `repeats` interleaved runs; bytes a token;
    the most memory that all processes had together. `examples`: examples a second of each kind, made in one thread; as
    the loader hands them out, on the device; the loop's rate over that of the loader; the share of padding.

    Raises:
        UserError: bad config or text.
    """
    check_data(config)
    with tempfile.TemporaryDirectory() as folder:
        preparation = preparation_of(config, Path(folder), Stopper())
        prepared = _prepare(preparation, config, Path(folder), repeats)
        show("prepare", prepared)
        store = TokenStore.open(Path(folder, "store"), "train")
        rows = []
        for row in _examples(store, preparation.tokenizer, repeats, Path(folder)):
            show("examples", row)
            rows.append(row)
    return {"prepare": prepared, "examples": rows, "batch_size": BATCH_SIZE, "repeats": repeats}


def _prepare(preparation: Preparation, config: ConfigDict, folder: Path, repeats: int) -> dict[str, Any]:
    size = {"text": 0, "tokens": 0}
    ours, theirs, memory = [], [], 0
    for number in range(repeats):
        began = time.perf_counter()
        size["text"] = _reference(configured_corpus(config), preparation.tokenizer)
        theirs.append(time.perf_counter() - began)
        with _PeakMemory() as peak:
            began = time.perf_counter()
            manifest = build_store(folder / f"store{number or ''}", preparation, workers=config.data.workers)
            ours.append(time.perf_counter() - began)
        memory = max(memory, peak.bytes)
    tokens = sum(side["num_tokens"] for side in manifest["splits"].values())
    stored = sum(path.stat().st_size for path in (folder / "store").rglob("*.npy"))
    rate, reference = (size["text"] / statistics.median(seconds) for seconds in (ours, theirs))
    return {
        "text_bytes": size["text"],
        "tokens": tokens,
        "workers": config.data.workers or cores(),
        "bytes_per_second": rate,
        "encode_batch_fast": reference,
        "ratio": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
        "bytes_per_token": stored / tokens,
        "memory": memory,
    }


def _reference(documents: Iterator[str], tokenizer: Tokenizer) -> int:
    """Reads and tokenizes with nothing but the library; returns the bytes of text."""
    batch, size, total = [], 0, 0
    for document in documents:
        batch.append(document)
        size += len(document.encode("utf-8", "replace"))
        if size >= REFERENCE_BYTES:
            tokenizer.backend.encode_batch_fast(batch)
            batch, size, total = [], 0, total + size
    tokenizer.backend.encode_batch_fast(batch)
    return total + size


class _PeakMemory:
    """The most resident memory that this process and its children have had together while it was watched."""

    def __enter__(self) -> "_PeakMemory":
        self.bytes, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        own, over = psutil.Process(), False
        while not over:
            over, total = self._over.wait(0.1), 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.bytes = max(self.bytes, total)


def _examples(store: TokenStore, tokenizer: Tokenizer, repeats: int, folder: Path) -> Iterator[dict[str, Any]]:
    for length, masks in LENGTHS.items():
        for name, (kind, whole_word) in KINDS.items():
            made = kind(
                store,
                tokenizer,
                seed=0,
                batch_size=BATCH_SIZE,
                sequence_length=length,
                max_predictions=masks,
                whole_word=whole_word,
            )
            alone, loaded = _rate(made.batch, repeats), _loader_rate(made.batch, repeats)
            looped = _loop_rate(made.batch, folder / f"loop-{length}-{name}")
            yield {
                "sequence_length": length,
                "kind": name,
                "examples_per_second": alone,
                "loaded_per_second": loaded,
                "loop": looped / loaded,
                "padding": 1 - float(made.batch(0)["attention_mask"].mean()),
            }


def _rate(make_batch: Callable[[int], Batch], repeats: int) -> float:
    """Examples a second, the median of some stretches."""
    seconds = []
    for number in range(repeats + 1):
        began = time.perf_counter()
        for step in range(BATCHES):
            make_batch(number * BATCHES + step)
        seconds.append(time.perf_counter() - began)
    return BATCHES * BATCH_SIZE / statistics.median(seconds[1:])


def _loader_rate(make_batch: Callable[[int], Batch], repeats: int) -> float:
    """Examples a second from the loader, whose thread also brings them to the device; nothing else happens."""
    seconds = []
    for number in range(repeats + 1):
        began = time.perf_counter()
        for _ in feed(make_batch)(number * BATCHES, (number + 1) * BATCHES):
            pass
        seconds.append(time.perf_counter() - began)
    return BATCHES * BATCH_SIZE / statistics.median(seconds[1:])


def _loop_rate(make_batch: Callable[[int], Batch], folder: Path) -> float:
    """Examples a second of the loop around a step that does nothing."""
    phase = Phase(
        name="idle",
        plan=Plan((Stage("idle", STEPS, {"masked_lm": 1.0}, (1.0,)),)),
        programs=(_Idle(),),
        optimizer=OptimizerConfig("adamw"),
        learning_rate=LearningRate(1.0, 0, STEPS, 1.0),
        cadence=Cadence(log=LOGGED, evaluate=0, save=0),
        batches=feed(make_batch),
        init=lambda: {"nothing": jnp.zeros(())},
        networks={},
    )
    run_phase(phase, folder, Stopper())
    lines = read_metrics(folder / "metrics.jsonl")
    return statistics.median(line["examples_per_second"] for line in lines if "examples_per_second" in line)


@dataclasses.dataclass(frozen=True)
class _Idle:
    """A program whose step takes no time."""

    name: str = "idle"
    independent: bool = False
    updates: int = 1

    def cut(self, params, block):
        return params, {}

    def join(self, trained, rest, block):
        return trained

    def counts(self, batch):
        return {"masked_lm": jnp.float32(1.0)}

    def gradients(self, trained, rest, teacher, batch, counts, control, rng):
        return {"nothing": jnp.zeros(())}, {"masked_lm": batch["masked_weights"][0, 0]}

    def multipliers(self, trained, control, factor):
        return None


def print_row(what: str, row: dict[str, Any]) -> None:
    """A row of the table."""
    if what == "prepare":
        print(f"prepare, {row['text_bytes'] / 1e6:,.1f} MB of text, {row['workers']} processes")
        print(f"  encode_batch_fast alone   {row['encode_batch_fast'] / 1e6:8.2f} MB/s")
        print(f"  splitting, ids, writing   {row['bytes_per_second'] / 1e6:8.2f} MB/s   ratio {row['ratio']:.2f}")
        print(f"  store                     {row['bytes_per_token']:8.3f} bytes a token, {row['tokens']:,} tokens")
        print(f"  memory, all processes     {row['memory'] / 2**20:8,.0f} MiB")
        print(f"{'examples, one thread':<32} {'a second':>9} {'loaded':>9} {'loop':>6} {'padding':>9}")
        return
    name = f"  {row['sequence_length']}, {row['kind']}"
    rates = f"{row['examples_per_second']:>9,.0f} {row['loaded_per_second']:>9,.0f}"
    print(f"{name:<32} {rates} {row['loop']:>6.0%} {row['padding']:>9.1%}")
