"""Text to tokenizer, token stores and example batches, in `workdir/data`."""

import dataclasses
import functools
import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.recipes.settings import active_phases
from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.text.corpus import Corpus
from mobilebert_jax.text.estimate import Estimate, estimate
from mobilebert_jax.text.examples import PretrainingExamples
from mobilebert_jax.text.packed_examples import PackedExamples
from mobilebert_jax.text.preparation import Preparation, build_store, finished_store
from mobilebert_jax.text.remote_store import RemoteStore
from mobilebert_jax.text.sample import sample_paragraphs
from mobilebert_jax.text.selection import Selection
from mobilebert_jax.text.shards import Share
from mobilebert_jax.text.store import MANIFEST, TokenStore, read_manifest
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from mobilebert_jax.training.stopping import Stopper, interruptible, stop_if_asked
from mobilebert_jax.utils.errors import UserError

ANNOUNCE_AFTER = 1000
"""Documents read before the training of a tokenizer is announced."""

TOKENIZER_SIGN = "tokenizer_config.json"
"""The file that is written last: with it, the others are there."""

UNPREPARED = "the text is not prepared yet"
"""What a stop leaves undone here."""


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """A tokenizer and the two sides of a corpus."""

    tokenizer: Tokenizer
    train: TokenStore
    heldout: TokenStore


def configured_corpus(config: ConfigDict) -> Corpus:
    """The corpus of `config.data`; UserError when there is none of that name."""
    return open_corpus(config.data.corpus, _selection(config), config.data.streaming, config.data.errors)


def _selection(config: ConfigDict) -> Selection:
    return Selection(config.data.min_characters, config.data.drop_duplicates, config.data.max_documents)


def corpus_of_run(config: ConfigDict, workdir: Path) -> Corpus | None:
    """The configured corpus, None with a store in its place.

    Where it cannot be opened any more, the store made of it in `workdir` stands for it.

    Raises:
        UserError: the corpus cannot be opened, and no finished stores come from it.
    """
    if config.data.store:
        return None
    try:
        return configured_corpus(config)
    except UserError as error:
        made = _Prepared.of_run(config, workdir, error)
        if made is None:
            raise
        print(f"{error}; going on with what was made of it before, in {workdir / 'data'}", file=sys.stderr)
        return made


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A corpus that is gone: what identifies it is known from its stores, its documents are not."""

    spec: str
    identity: dict[str, Any]
    error: UserError

    @classmethod
    def of_run(cls, config: ConfigDict, workdir: Path, error: UserError) -> "_Prepared | None":
        """The one that the stores in `workdir` come from; None unless that is the config's."""
        try:
            manifest = read_manifest(workdir / "data")
        except UserError:
            return None
        if manifest["corpus"] != config.data.corpus:
            return None
        prints = {name: manifest[name] for name in ("corpus_fingerprint", "errors") if name in manifest}
        return cls(config.data.corpus, prints | _selection(config).identity, error)

    def __iter__(self) -> Iterator[str]:
        raise self.error

    def progress(self) -> float | None:
        """Nobody knows."""
        return None


def text_inputs(config: ConfigDict, workdir: Path, corpus: Corpus | None) -> dict[str, str]:
    """The fingerprint of the corpus, or of the store in its place, as an input of the run, for `claim`; {} if none."""
    if corpus is None:
        return {"data.store": hashlib.sha256(_remote_store(config, workdir).manifest_bytes).hexdigest()}
    fingerprint = corpus.identity.get("corpus_fingerprint")
    return {} if fingerprint is None else {"data.corpus": fingerprint}


def _remote_store(config: ConfigDict, workdir: Path) -> RemoteStore:
    """The one that `data.store` names, or the whole copy of it in `workdir` where it is gone."""
    try:
        return RemoteStore(config.data.store)
    except UserError as error:
        if not (workdir / "data" / MANIFEST).is_file():
            raise
        print(f"{error}; going on with its copy in {workdir / 'data'}", file=sys.stderr)
        return RemoteStore(str(workdir / "data"))


def fetched_data(config: ConfigDict, workdir: Path, stopper: Stopper) -> PreparedData:
    """The store that `data.store` names, brought into `workdir/data`.

    Raises:
        UserError: no such store, or a damaged one. Stopped: asked to stop; the shards that have come stay.
    """
    store, folder = _remote_store(config, workdir), workdir / "data"
    interruptible(lambda: store.fetch(folder), stopper, UNPREPARED)
    return open_data(workdir, load_tokenizer(folder / "tokenizer"))


def prepare(config: ConfigDict, workdir: Path, stopper: Stopper, corpus: Corpus | None = None) -> PreparedData:
    """Makes whatever of `workdir/data` is not there yet: the tokenizer and the token store.

    `corpus` is `corpus_of_run(config, workdir)` where that was opened before.

    Raises:
        UserError: no such corpus or tokenizer, too little text, or a finished store that was damaged since.
        Stopped: asked to stop; the shards that are finished stay.
    """
    if config.data.store:
        return fetched_data(config, workdir, stopper)
    preparation = preparation_of(config, workdir, stopper, corpus)
    folder = workdir / "data"
    if not finished_store(folder, preparation):
        build_store(folder, preparation, workers=config.data.workers)
    return open_data(workdir, preparation.tokenizer)


def prepare_share(
    config: ConfigDict, workdir: Path, stopper: Stopper, corpus: Corpus | None, share: Share
) -> PreparedData | None:
    """The same for a share of the shards, a damaged one made again; None while those of other shares are missing."""
    if config.data.store:
        return fetched_data(config, workdir, stopper)
    preparation = preparation_of(config, workdir, stopper, corpus)
    folder = workdir / "data"
    try:
        found = finished_store(folder, preparation)
    except UserError as error:
        print(f"{error}: now", file=sys.stderr)
        found = None
    if not (found or build_store(folder, preparation, share, config.data.workers)):
        return None
    return open_data(workdir, preparation.tokenizer)


def preparation_of(config: ConfigDict, workdir: Path, stopper: Stopper, corpus: Corpus | None = None) -> Preparation:
    """What the config's store is made of; the tokenizer is made, or carried into the folder, on the way."""
    corpus = _Interruptible(corpus or configured_corpus(config), stopper)
    tokenizer = _tokenizer(config, corpus, workdir / "data" / "tokenizer", stopper)
    return _preparation(config.data, corpus, tokenizer)


def _preparation(data: ConfigDict, corpus: Iterable[str], tokenizer: Tokenizer) -> Preparation:
    return Preparation(corpus, tokenizer, data.heldout_fraction, data.sentences, data.shard_bytes)


def estimate_data(config: ConfigDict, workdir: Path, stopper: Stopper) -> Estimate:
    """What `prepare` will need, from the beginning of the corpus, on which a tokenizer to be trained is trained."""
    data, corpus = config.data, _Interruptible(configured_corpus(config), stopper)
    folder = workdir / "data" / "tokenizer"
    made = (folder / TOKENIZER_SIGN).exists()

    def tokenizer_of(documents: list[str]) -> Tokenizer:
        if data.tokenizer == "train" and not made:
            return interruptible(lambda: _trained(data, documents), stopper, UNPREPARED)
        return load_tokenizer(folder if made else data.tokenizer)

    return estimate(workdir / "data", corpus, tokenizer_of, functools.partial(_preparation, data), data.workers)


def open_data(workdir: Path, tokenizer: Tokenizer) -> PreparedData:
    """The finished store of a run."""
    train, heldout = (TokenStore.open(workdir / "data", split) for split in ("train", "heldout"))
    return PreparedData(tokenizer, train, heldout)


class _Interruptible:
    """A corpus that ends with `Stopped` as soon as there is a reason."""

    def __init__(self, corpus: Corpus, stopper: Stopper):
        self.spec, self.identity = corpus.spec, corpus.identity
        self._corpus, self._stopper = corpus, stopper

    def __iter__(self) -> Iterator[str]:
        for document in self._corpus:
            stop_if_asked(self._stopper, UNPREPARED)
            yield document

    def progress(self) -> float | None:
        """The corpus' own."""
        return self._corpus.progress()


def _tokenizer(config: ConfigDict, corpus: Corpus, folder: Path, stopper: Stopper) -> Tokenizer:
    """The one made before, the one given, or one trained on the corpus."""
    if (folder / TOKENIZER_SIGN).exists():
        return load_tokenizer(folder)
    if config.data.tokenizer == "train":
        tokenizer = interruptible(lambda: _trained(config.data, _announced(corpus)), stopper, UNPREPARED)
    else:
        tokenizer = load_tokenizer(config.data.tokenizer)
    tokenizer.save(folder)
    return tokenizer


def _trained(data: ConfigDict, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of the configured kind, from all of the texts or from a sample of them."""
    texts = sample_paragraphs(texts, data.tokenizer_sample) if data.tokenizer_sample else texts
    return train_tokenizer(texts, data.vocab_size, data.lowercase, data.tokenizer_kind, data.tokenizer_coverage)


def _announced(corpus: Corpus) -> Iterator[str]:
    """The corpus' documents; says what goes on once it takes a while, so that a refused corpus is one line."""
    for number, document in enumerate(corpus):
        if number == ANNOUNCE_AFTER:
            print(f"training a tokenizer on {corpus.spec}", file=sys.stderr, flush=True)
        yield document


def pretraining_examples(
    config: ConfigDict, phase: ConfigDict, store: TokenStore, tokenizer: Tokenizer, seed: int
) -> PretrainingExamples | PackedExamples:
    """The phase's masked sentence pairs, or masked packed rows, a function of (seed, step)."""
    kind = PackedExamples if config.data.packing else PretrainingExamples
    return kind(
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


def check_examples(config: ConfigDict, data: PreparedData) -> None:
    """UserError when some phase's examples could not be made of this text: better now than after the phases before."""
    for name in active_phases(config):
        if name == "finetune":
            continue
        for store in (data.train, data.heldout):
            try:
                pretraining_examples(config, config[name], store, data.tokenizer, seed=0)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
