"""Sets of labelled texts by task: GLUE's, or your own; and how predictions on them score."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from ml_collections import ConfigDict

from mobilebert_jax.inference.classifier import predict_labels
from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.quantization.recipe import Samples
from mobilebert_jax.recipes.samples import EXAMPLES, of_texts
from mobilebert_jax.recipes.tokens import TOKENS, TokenSets, load_token_sets
from mobilebert_jax.tasks.examples import Examples, label_set, make_examples
from mobilebert_jax.tasks.glue_data import load_glue
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.label_features import LabelFeatures
from mobilebert_jax.tasks.label_scores import baseline_predictions, label_scores, task_score
from mobilebert_jax.tasks.own_data import Columns, read_rows, split_rows
from mobilebert_jax.tasks.token_features import TokenFeatures
from mobilebert_jax.text.pairs import Pairs
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import write_text
from mobilebert_jax.utils.types import Array, Batch

CLASSIFICATION, REGRESSION = "classification", "regression"
OWN_METRICS = {CLASSIFICATION: ("accuracy", "macro_f1", "matthews"), REGRESSION: ("pearson", "spearman")}
LABEL_TASKS = (*TASKS, *OWN_METRICS, TOKENS)
"""Everything that `--task` may name besides SQuAD."""


Predict = Callable[[Batch], Array]
"""A batch to logits."""


class Sets(Protocol):
    """What fine-tuning asks of a task with labels: its examples, what is learnt from them, how predictions score.

    `labels` are the classes' names, empty for numbers; `dev`: part -> examples; `head`: as in `build_model`.
    """

    task: str
    head: str
    labels: tuple[str, ...]
    train: Any
    dev: Mapping[str, Any]

    def fingerprint(self) -> str:
        """Hex SHA-256 of every text and label."""

    def features(self, tokenizer: Tokenizer, settings: ConfigDict) -> LabelFeatures | TokenFeatures:
        """Training batches, by the settings of `config.finetune`."""

    def samples(self, tokenizer: Tokenizer, sequence_length: int) -> Samples:
        """Some of the training examples, to measure ranges on."""

    def heldout(self, tokenizer: Tokenizer, sequence_length: int) -> dict[str, Any]:
        """What is predicted, by part."""

    def logits(self, predict: Predict, rows: Any, buckets: np.ndarray, batch_size: int) -> np.ndarray:
        """Logits of one part."""

    def scores(self, logits: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """metric -> percent; where there are several parts, part -> metric -> percent."""

    def score(self, scores: Mapping[str, Any]) -> float:
        """The one number that decides."""

    def baselines(self) -> dict[str, dict[str, Any]]:
        """The scores of what hardly looks."""

    def write(self, folder: Path, part: str, logits: np.ndarray) -> None:
        """A file of a part's predictions."""


@dataclass(frozen=True)
class LabelSets:
    """What a task is trained on and judged by; `labels` is empty for numbers. `dev`: part -> examples."""

    task: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    train: Examples
    dev: dict[str, Examples]
    head: ClassVar[str] = "classification"

    def fingerprint(self) -> str:
        """Hex SHA-256 of every text and label."""
        digest = hashlib.sha256(repr(self.labels).encode())
        for examples in (self.train, *self.dev.values()):
            for texts in (examples.texts, examples.text_pairs or ()):
                digest.update(repr(texts).encode("utf-8", "replace"))
            digest.update(examples.labels.tobytes())
        return digest.hexdigest()

    def features(self, tokenizer: Tokenizer, settings: ConfigDict) -> LabelFeatures:
        """Training batches."""
        return LabelFeatures.build(tokenizer, self.train, settings.sequence_length, settings.bucketing)

    def samples(self, tokenizer: Tokenizer, sequence_length: int) -> Samples:
        """Some of the training examples, to measure ranges on."""
        return of_texts(tokenizer, self.train.texts, self.train.text_pairs, sequence_length, EXAMPLES)

    def heldout(self, tokenizer: Tokenizer, sequence_length: int) -> dict[str, Pairs]:
        """What is predicted, by part."""
        return {
            part: Pairs.build(tokenizer, examples.texts, examples.text_pairs, sequence_length)
            for part, examples in self.dev.items()
        }

    def logits(self, predict: Predict, rows: Pairs, buckets: np.ndarray, batch_size: int) -> np.ndarray:
        """Logits [n, C] of a part's texts."""
        return predict_labels(predict, rows, buckets, batch_size, max(1, len(self.labels)))

    def scores(self, logits: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """`part_scores`."""
        return part_scores(self.metrics, self.dev, {part: predictions(own) for part, own in logits.items()})

    def score(self, scores: Mapping[str, Any]) -> float:
        """The mean of all figures."""
        return task_score(scores)

    def baselines(self) -> dict[str, dict[str, Any]]:
        """`part_scores` of what says the same to every example."""
        said = {part: baseline_predictions(self.train.labels, len(examples)) for part, examples in self.dev.items()}
        names = next(iter(said.values()))
        return {
            name: part_scores(self.metrics, self.dev, {part: own[name] for part, own in said.items()}) for name in names
        }

    def write(self, folder: Path, part: str, logits: np.ndarray) -> None:
        """`PART.tsv`: see `write_label_predictions`."""
        write_label_predictions(folder / f"{part}.tsv", self.dev[part], self.labels, logits)


def load_label_sets(settings: ConfigDict, task: str) -> LabelSets | TokenSets:
    """The sets of `config.finetune`, whose `dataset` names them.

    Raises:
        UserError: no such task, or whatever `tasks/glue_data.py`, `own_data.py` and `token_data.py` refuse.
    """
    if not settings.dataset:
        raise UserError(f"no examples of {task} to train on: give --dataset=, a folder, a file, hf: or tfds:")
    if task in OWN_METRICS:
        return _own_sets(settings, task)
    if task == TOKENS:
        return load_token_sets(settings)
    if task not in TASKS:
        raise UserError(f"task {task!r}: must be one of {', '.join(LABEL_TASKS)}")
    own = TASKS[task]
    if not own.dev:
        raise UserError(
            f"{task} has no training set: `mobilebert finetune --task=mnli` makes the model that answers it"
        )
    dev = {part: load_glue(own, part, settings.dataset, settings.bad_rows) for part in own.dev}
    train = load_glue(own, "train", settings.dataset, settings.bad_rows)
    return LabelSets(task, own.labels, own.metrics, train, dev)


def part_scores(
    metrics: tuple[str, ...], dev: Mapping[str, Examples], said: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """metric -> percent; where there are several parts, part -> metric -> percent. `said`: part -> predictions [n]."""
    scores = {part: label_scores(metrics, examples.labels, said[part]) for part, examples in dev.items()}
    return next(iter(scores.values())) if len(scores) == 1 else scores


def predictions(logits: np.ndarray) -> np.ndarray:
    """Logits [n, C] -> classes [n], or numbers [n] float64 where there is one logit."""
    return logits[:, 0].astype(np.float64) if logits.shape[1] == 1 else logits.argmax(axis=1)


def write_label_predictions(path: str | Path, examples: Examples, labels: tuple[str, ...], logits: np.ndarray) -> None:
    """A tsv with a header: index, prediction, the label where it is known, and each class's probability."""
    said = predictions(logits).tolist()
    known = [] if examples.labels is None else examples.labels.tolist()
    header = ["index", "prediction", *(["label"] if known else []), *(f"p({name})" for name in labels)]
    shares = softmax(logits).tolist() if labels else []
    lines = ["\t".join(header)]
    for number, index in enumerate(examples.indices):
        values = [said[number], *([known[number]] if known else [])]
        written = [labels[value] if labels else f"{value:.6g}" for value in values]
        lines.append("\t".join([index, *written, *(f"{share:.6f}" for share in (shares[number] if labels else []))]))
    write_text(path, "\n".join(lines) + "\n")


def _own_sets(settings: ConfigDict, task: str) -> LabelSets:
    columns = Columns(settings.text, settings.text_pair, settings.label)
    rows = read_rows(settings.dataset, columns, bad_rows=settings.bad_rows)
    if settings.dev:
        train, dev = rows, read_rows(settings.dev, columns, bad_rows=settings.bad_rows)
    else:
        train, dev = split_rows(rows)
    labels = label_set(train, settings.dataset) if task == CLASSIFICATION else ()
    heldout = make_examples(dev, labels, settings.dev or settings.dataset)
    return LabelSets(task, labels, OWN_METRICS[task], make_examples(train, labels, settings.dataset), {"dev": heldout})
