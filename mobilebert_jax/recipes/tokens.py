"""Sets of sentences whose words have tags, as fine-tuning takes them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ml_collections import ConfigDict

from mobilebert_jax.export.exported_folder import computed_in, loader
from mobilebert_jax.inference.token_classifier import TokenClassifier, predict_words
from mobilebert_jax.quantization.recipe import Samples
from mobilebert_jax.recipes.samples import EXAMPLES, of_words
from mobilebert_jax.tasks.own_data import Columns
from mobilebert_jax.tasks.token_data import (
    TOKEN_COLUMNS,
    Tagged,
    make_tagged,
    read_sentences,
    split_sentences,
    tag_set,
)
from mobilebert_jax.tasks.token_features import TokenFeatures
from mobilebert_jax.tasks.token_scores import most_frequent_tags, token_score, token_scores
from mobilebert_jax.text.tables import REFUSE
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.words import WordRows
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_text
from mobilebert_jax.utils.types import Array, Batch

TOKENS = "tokens"
"""The task's name."""


@dataclass(frozen=True)
class TokenSets:
    """What the task is trained on and judged by; see `recipes.labels.Sets`."""

    labels: tuple[str, ...]
    train: Tagged
    dev: dict[str, Tagged]
    task: ClassVar[str] = TOKENS
    head: ClassVar[str] = "token_classification"

    def fingerprint(self) -> str:
        """Hex SHA-256 of every word and tag."""
        digest = hashlib.sha256(repr(self.labels).encode("utf-8", "replace"))
        for tagged in (self.train, *self.dev.values()):
            digest.update(repr(tagged.sentences).encode("utf-8", "replace"))
            digest.update(tagged.labels.tobytes())
        return digest.hexdigest()

    def features(self, tokenizer: Tokenizer, settings: ConfigDict) -> TokenFeatures:
        """Training batches."""
        return TokenFeatures.build(tokenizer, self.train, settings.sequence_length, settings.bucketing)

    def samples(self, tokenizer: Tokenizer, sequence_length: int) -> Samples:
        """Some of the training sentences, to measure ranges on."""
        return of_words(tokenizer, self.train.sentences, sequence_length, EXAMPLES)

    def heldout(self, tokenizer: Tokenizer, sequence_length: int) -> dict[str, WordRows]:
        """What is predicted, by part."""
        return {
            part: WordRows.build(tokenizer, tagged.sentences, sequence_length, tagged.source)
            for part, tagged in self.dev.items()
        }

    def logits(
        self, predict: Callable[[Batch], Array], rows: WordRows, buckets: np.ndarray, batch_size: int
    ) -> np.ndarray:
        """Logits [W, C] of a part's words."""
        return predict_words(predict, rows, buckets, batch_size, len(self.labels))

    def scores(self, logits: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Scores in percent of the only part."""
        ((part, own),) = logits.items()
        return token_scores(self.dev[part], own.argmax(axis=1), self.labels)

    def score(self, scores: Mapping[str, Any]) -> float:
        """The number that decides."""
        return token_score(scores)

    def baselines(self) -> dict[str, dict[str, Any]]:
        """Scores of what knows no context."""
        ((_, tagged),) = self.dev.items()
        return {"most_frequent_tag": token_scores(tagged, most_frequent_tags(self.train, tagged), self.labels)}

    def write(self, folder: Path, part: str, logits: np.ndarray) -> None:
        """`PART.conll`: see `write_tags`."""
        write_tags(folder / f"{part}.conll", self.dev[part], self.labels, logits)


def load_token_sets(settings: ConfigDict) -> TokenSets:
    """The sets of `config.finetune`, whose `dataset` names them; without `dev` a tenth of the sentences is held out.

    Raises:
        UserError: whatever `tasks/token_data.py` refuses.
    """
    if settings.text_pair:
        raise UserError(f"--text_pair={settings.text_pair}: words with tags have no second text")
    columns = Columns(settings.text, "", settings.label)
    sentences = read_sentences(settings.dataset, columns, settings.bad_rows)
    labels = tag_set(sentences, settings.dataset)
    if settings.dev:
        train, dev = sentences, read_sentences(settings.dev, columns, settings.bad_rows)
    else:
        train, dev = split_sentences(sentences)
    heldout = make_tagged(dev, labels, settings.dev or settings.dataset)
    return TokenSets(labels, make_tagged(train, labels, settings.dataset), {"dev": heldout})


def evaluate_tokens(
    model: str | Path,
    dataset: str,
    *,
    columns: Columns | None = None,
    output: str = "",
    bad_rows: str = "",
    precision: str = "float32",
    **settings: int,
) -> dict[str, Any]:
    """Scores of a model folder with tags in percent, the one that decides as `score`, and how many `examples`.

    `output` is a folder for `tokens-dev.conll`; `settings` are those of `TokenClassifier`.

    Raises:
        UserError: no such model, tags or sentences, or a tag that the model does not know.
    """
    tagger = TokenClassifier.from_pretrained(model, precision=precision, load=loader(model), **settings)
    sentences = read_sentences(dataset, columns or TOKEN_COLUMNS, bad_rows or REFUSE)
    tagged = make_tagged(sentences, tagger.labels, dataset)
    logits = tagger.logits(tagged.sentences)
    if output:
        write_tags(Path(output) / f"{TOKENS}-dev.conll", tagged, tagger.labels, logits)
    scores = token_scores(tagged, logits.argmax(axis=1), tagger.labels)
    found = {"task": TOKENS, "computed_in": computed_in(model, precision), "examples": {"dev": len(tagged)}}
    return {**found, **scores, "score": token_score(scores)}


def write_tags(path: str | Path, tagged: Tagged, labels: tuple[str, ...], logits: np.ndarray) -> None:
    """What conlleval reads with tabs (`-d '\\t'`): word, tag, predicted tag; a blank line after every sentence."""
    pairs = zip(tagged.labels.tolist(), logits.argmax(axis=1).tolist(), strict=True)
    lines = []
    for words in tagged.sentences:
        # White space in a word would be another column there.
        lines += ["\t".join(("_".join(word.split()), *(labels[tag] for tag in next(pairs)))) for word in words] + [""]
    write_text(path, "\n".join(lines))
