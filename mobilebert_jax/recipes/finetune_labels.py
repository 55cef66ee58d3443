"""Fine-tuning on labelled texts: GLUE's tasks, or classes and numbers of your own."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mobilebert_jax.inference.classifier import label_forward
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.quantization.recipe import Samples
from mobilebert_jax.recipes.encoders import encoder_phase, read_encoder
from mobilebert_jax.recipes.labels import Sets, load_label_sets
from mobilebert_jax.recipes.layouts import make_layout
from mobilebert_jax.recipes.programs import as_quantized, label_model, label_programs
from mobilebert_jax.recipes.selection import SCORE
from mobilebert_jax.recipes.settings import check_labels
from mobilebert_jax.recipes.tuning import Kind, tune_folder
from mobilebert_jax.text.lengths import length_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.stopping import HasReason, stop_if_asked
from mobilebert_jax.utils.types import Array, Batch, Params


def label_phase(
    config: ConfigDict, cfg: ModelConfig, encoder: Params, tokenizer: Tokenizer, sets: Sets, layout: Layout | None
) -> Phase:
    """A fresh classifier on a pretrained encoder, everything learning at the task's rate."""
    model, planned = label_model(cfg, sets.labels, sets.head), label_programs(config, cfg, sets.labels, sets.head)
    return encoder_phase(config, cfg, encoder, model, planned, sets.features(tokenizer, config.finetune), layout)


class _LabelTask:
    """Classes or numbers of texts, or tags of words; see `tuning.Task`."""

    def __init__(self, config: ConfigDict, sets: Sets, model_folder: Path, stopper: HasReason):
        self.config, self.sets, self.stopper = config, sets, stopper
        self.cfg, self.encoder, self.tokenizer = read_encoder(
            config, model_folder, pooler=sets.head == "classification"
        )
        self.model = label_model(self.cfg, sets.labels, sets.head)
        self.forward = label_forward(as_quantized(config, self.model))
        self.buckets = length_buckets(config.finetune.sequence_length, config.finetune.bucketing)

    def phase(self) -> Phase:
        """The dev set becomes tokens, too."""
        self.dev = self.sets.heldout(self.tokenizer, self.config.finetune.sequence_length)
        return label_phase(self.config, self.cfg, self.encoder, self.tokenizer, self.sets, make_layout(self.config))

    def samples(self) -> Samples:
        """Some of the training examples."""
        return self.sets.samples(self.tokenizer, self.config.finetune.sequence_length)

    def figures(self, params: Params) -> dict[str, float]:
        """Every metric of every part, and what decides."""
        scores = self.sets.scores(self._logits(params, self.forward))
        return {**_named(scores), SCORE: self.sets.score(scores)}

    def finish(self, computing: Any, params: Params, folder: Path) -> dict[str, Any]:
        """`examples` by part, `labels`, scores of the `student` and of `baselines`."""
        if computing is not self.model:
            self.forward = label_forward(computing)
        logits = self._logits(params, self._stoppable)
        for part in self.sets.dev:
            self.sets.write(folder, part, logits[part])
        scores = self.sets.scores(logits)
        counts = {"train": self.sets.train, **self.sets.dev}
        return {
            "examples": {part: len(examples) for part, examples in counts.items()},
            "labels": list(self.sets.labels),
            SCORE: self.sets.score(scores),
            "student": scores,
            "baselines": self.sets.baselines(),
        }

    def _logits(self, params: Params, predict: Callable[[Params, Batch], Array]) -> dict[str, np.ndarray]:
        """Of every part of the dev set."""
        predict = functools.partial(predict, params)
        size = self.config.finetune.batch_size
        return {part: self.sets.logits(predict, rows, self.buckets, size) for part, rows in self.dev.items()}

    def _stoppable(self, params: Params, batch: Batch) -> Array:
        stop_if_asked(self.stopper, "finetune is trained, its model is not scored yet")
        return self.forward(params, batch)


LABELS = Kind(
    check=check_labels,
    load=lambda config, task: load_label_sets(config.finetune, task),
    inputs=lambda config, sets: {"--dataset": sets.fingerprint()},
    make=_LabelTask,
)
"""Tasks whose answers are classes, numbers or tags."""

finetune_labels_folder = functools.partial(tune_folder, LABELS)
"""Fine-tunes any model folder with a tokenizer on `config.finetune.dataset`; see `tune_folder`.

The model's classes have their names in its config.
"""


def _named(scores: Mapping[str, Any]) -> dict[str, float]:
    """One name a figure: `accuracy`, or `dev_matched_accuracy`."""
    named = {}
    for name, value in scores.items():
        own = {f"{name}_{metric}": figure for metric, figure in value.items()} if isinstance(value, dict) else {}
        named |= own or {name: value}
    return named
