"""Classes, or numbers, of texts and pairs of texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mobilebert_jax.inference.folders import Load, check_sizes, in_jax, tokenizer_and_length
from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.text.lengths import in_order_of_length, length_buckets
from mobilebert_jax.text.pairs import Pairs
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, Batch, Params

PredictLabels = Callable[[Batch], Array]
"""`input_ids`, `attention_mask` and `token_type_ids`, each [B, S] int32 -> logits [B, C] float32."""


@dataclass(frozen=True)
class Classification:
    """What a text is: the likeliest class, and the probability of each by name."""

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass
class Classifier:
    """Classifies with a model given as a function of a batch, called with `batch_size` examples of a few lengths.

    `labels` are the classes' names; empty for a model of numbers. An example is padded to the same length whatever
    stands beside it, so that its result is its own.
    """

    predict_batch: PredictLabels
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    sequence_length: int = 128
    batch_size: int = 32
    bucketing: bool = True

    def __post_init__(self):
        check_sizes(self, "sequence_length", "batch_size")

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, precision: str = "float32", load: Load = in_jax, **settings: Any
    ) -> "Classifier":
        """From a model folder with its tokenizer; `settings` are the fields from `sequence_length` on.

        `precision` is what it computes with, see `at_precision`, and `load` what else than JAX computes it. A folder
        with one label is a model of numbers. Unless given, `sequence_length` is 128, or fewer where the model has fewer
        positions. Raises UserError when the folder is no model with its tokenizer, has no such head, or is too small
        for `sequence_length`.
        """
        given = labelled_folder(
            path, "classification", "classes", "...", precision, settings, cls.sequence_length, load
        )
        return cls(*given, **settings)

    def predict(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> list[Classification]:
        """The class of each text, or of each pair of texts."""
        if not self.labels:
            raise UserError("this model gives numbers, not classes: ask by `values`")
        made = []
        for row in softmax(self.logits(texts, text_pairs)).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            made.append(Classification(self.labels[best], row[best], dict(zip(self.labels, row, strict=True))))
        return made

    def values(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> list[float]:
        """The number of each text, or of each pair of texts."""
        if self.labels:
            raise UserError(f"this model gives classes ({', '.join(self.labels)}), not numbers: ask by `predict`")
        return self.logits(texts, text_pairs)[:, 0].tolist()

    def logits(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> np.ndarray:
        """Logits [n, C] float32, in the order of the texts."""
        if isinstance(texts, str) or isinstance(text_pairs, str):
            raise UserError("a list of texts is needed, not a single text")
        if text_pairs is not None and len(text_pairs) != len(texts):
            raise UserError(f"{len(texts)} texts and {len(text_pairs)} pairs: every text needs one")
        pairs = Pairs.build(self.tokenizer, texts, text_pairs, self.sequence_length)
        buckets = length_buckets(self.sequence_length, self.bucketing)
        return predict_labels(self.predict_batch, pairs, buckets, self.batch_size, max(1, len(self.labels)))


def labelled_folder(
    path: str | Path,
    head: str,
    what: str,
    task: str,
    precision: str,
    settings: dict[str, Any],
    longest: int,
    load: Load = in_jax,
) -> tuple[Callable[[Batch], Array], Tokenizer, tuple[str, ...]]:
    """A folder's model as a function of a batch, its tokenizer and its labels, () of a model of numbers.

    `settings`, `longest`: as in `tokenizer_and_length`. UserError where its head is another: there are no `what` in it,
    `task` trains them.
    """
    found = read_folder_config(Path(path) / CONFIG) if (Path(path) / CONFIG).is_file() else None
    if found and found.head != head:
        raise UserError(f"{path}: no {what} in it; `mobilebert finetune --task={task} --model={path}` trains them")
    cfg, run = load(path, head, precision)
    tokenizer = tokenizer_and_length(path, cfg, settings, longest)
    labels = found.labels if found and len(found.labels) > 1 else ()
    return lambda batch: run(batch).logits, tokenizer, labels


def label_forward(model: Any) -> Callable[[Params, Batch], Array]:
    """Jitted (parameters, batch) -> logits of a model whose output is a `ClassificationOutput` of whole texts."""

    @jax.jit
    def forward(params: Params, batch: Batch) -> Array:
        inputs = batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]
        return model.apply({"params": params}, *inputs).logits

    return forward


def predict_labels(
    predict: PredictLabels, pairs: Pairs, buckets: np.ndarray, batch_size: int, classes: int
) -> np.ndarray:
    """Logits [n, classes] float32 of all examples, in their order."""
    logits = np.zeros((len(pairs), classes), np.float32)
    for rows, count, length in in_order_of_length(pairs.lengths, buckets, batch_size):
        logits[rows[:count]] = np.asarray(predict(pairs.batch(rows, length)))[:count]
    return logits
