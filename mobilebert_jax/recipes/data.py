"""Text to tokenizer, token stores and example batches, in `workdir/data`."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from ml_collections import ConfigDict

from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.text.examples import PretrainingExamples
from mobilebert_jax.text.loader import iterate
from mobilebert_jax.text.store import TokenStore, build_stores
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.files import write_json
from mobilebert_jax.utils.types import Batch


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """A tokenizer and the two sides of a corpus."""

    tokenizer: Tokenizer
    train: TokenStore
    heldout: TokenStore


def prepare(config: ConfigDict, workdir: Path) -> PreparedData:
    """Makes whatever of `workdir/data` is not there yet: tokenizer/, train/, heldout/, manifest.json.

    Raises:
        UserError: no such corpus or tokenizer, or too little text.
    """
    folder = workdir / "data"
    corpus = open_corpus(config.data.corpus)
    tokenizer = _tokenizer(config, corpus, folder / "tokenizer")
    manifests = build_stores(folder, corpus, tokenizer, config.data.heldout_fraction)
    write_json(folder / "manifest.json", {"tokenizer": tokenizer.fingerprint(), "stores": manifests})
    return PreparedData(tokenizer, TokenStore.open(folder / "train"), TokenStore.open(folder / "heldout"))


def _tokenizer(config: ConfigDict, corpus, folder: Path) -> Tokenizer:
    """The one made before, the one given, or one trained on the corpus."""
    if (folder / "tokenizer_config.json").exists():
        return Tokenizer.load(folder)
    if config.data.tokenizer == "train":
        tokenizer = Tokenizer.train(corpus, config.data.vocab_size, config.data.lowercase)
    else:
        tokenizer = Tokenizer.load(config.data.tokenizer)
    tokenizer.save(folder)
    return tokenizer


def pretraining_examples(
    config: ConfigDict, phase: ConfigDict, store: TokenStore, tokenizer: Tokenizer, seed: int
) -> PretrainingExamples:
    """The phase's masked sentence pairs, a function of (seed, step)."""
    return PretrainingExamples(
        store,
        tokenizer,
        seed=seed,
        batch_size=phase.batch_size,
        sequence_length=phase.sequence_length,
        max_predictions=phase.max_predictions,
        mask_probability=config.data.mask_probability,
        whole_word=config.data.whole_word,
        short_sequence_probability=config.data.short_sequence_probability,
    )


def batch_stream(make_batch: Callable[[int], Batch]) -> Callable[[int, int], Iterator[Batch]]:
    """What the loop asks for: batches from a step on, made ahead in a thread."""
    return lambda start, stop: iterate(make_batch, start, stop)
