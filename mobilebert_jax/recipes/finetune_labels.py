"""Fine-tuning on labelled texts: GLUE's tasks, or classes and numbers of your own."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mobilebert_jax.inference.classifier import label_forward, predict_labels
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.processes import exchange, first_says, is_first, on_first, whole
from mobilebert_jax.recipes.finetune import NEXT, encoder_phase, read_encoder
from mobilebert_jax.recipes.labels import (
    LabelSets,
    baseline_scores,
    load_label_sets,
    part_scores,
    predictions,
    write_label_predictions,
)
from mobilebert_jax.recipes.layouts import (
    check_layout,
    check_network,
    make_layout,
)
from mobilebert_jax.recipes.place import Place, opened
from mobilebert_jax.recipes.programs import label_model, label_programs
from mobilebert_jax.recipes.selection import SCORE, BestOnDev
from mobilebert_jax.recipes.settings import check_labels, check_phase
from mobilebert_jax.recipes.watch import check_traced, time_spent
from mobilebert_jax.recipes.workdir import claim, file_input
from mobilebert_jax.tasks.label_features import LabelFeatures
from mobilebert_jax.tasks.label_scores import task_score
from mobilebert_jax.text.lengths import length_buckets
from mobilebert_jax.text.pairs import Pairs
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.training.loop import run_phase
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.stopping import HasReason, Stopper, stop_if_asked
from mobilebert_jax.training.time_spent import TimeSpent
from mobilebert_jax.training.together import SharedStopper, agreed_reason, interruptible_together
from mobilebert_jax.training.trace import Traced
from mobilebert_jax.utils.errors import Stopped
from mobilebert_jax.utils.files import read_json, write_json
from mobilebert_jax.utils.types import Array, Batch, Params


def finetune_labels_folder(
    config: ConfigDict,
    model_folder: str,
    task: str,
    workdir: str | Path,
    stopper: Stopper,
    source: Mapping[str, Any] | None = None,
    traced: Traced | None = None,
    since: float | None = None,
) -> dict[str, Any]:
    """Fine-tunes any model folder with a tokenizer on `config.finetune.dataset`, in a folder of its own.

    The finished model, with its classes' names, lies in `workdir/model`. Returns what results.json holds: `task`,
    `examples` (their numbers by part), `labels`, `steps`, `best_step`, the scores of the `student` and of `baselines`
    in percent, and `score`, the mean of the student's; {} in any process but the first. Started again, it continues.
    `source`, `traced`, `since`: as in `finetune_folder`.

    Raises:
        UserError: bad config, examples, model or workdir. Stopped: asked to stop, the state is saved.
    """
    load = functools.cache(lambda: load_label_sets(config.finetune, task))

    def checked() -> tuple[ConfigDict, dict[str, str]]:
        check_labels(config)
        sets = load()
        settings = with_steps(config, len(sets.train))
        check_phase(settings, "finetune")
        layout = make_layout(settings)
        check_layout(settings, layout, ["finetune"])
        check_network(layout, read_encoder(settings, model_folder)[0], model_folder)
        if traced:
            check_traced(settings, traced, ["finetune"])
        inputs = {"--model": file_input("--model", model_folder), "--task": task, "--dataset": sets.fingerprint()}
        return settings, inputs

    since = time.monotonic() if since is None else since
    with SharedStopper(stopper) as stopper, contextlib.ExitStack() as held:
        found = on_first(checked)
        place = held.enter_context(opened(workdir, stopper))
        on_first(lambda: claim(place.folder, *found, source))
        spent = held.enter_context(time_spent(place.folder, since))
        folder = place.folder / "finetune"
        # Written last: with it, everything is there.
        if first_says((folder / "results.json").exists()):
            return on_first(lambda: read_json(folder / "results.json")) or {}
        sets = interruptible_together(load, stopper, NEXT)
        tuning = _Tuning(with_steps(config, len(sets.train)), sets, Path(model_folder), place, stopper)
        return tuning.run(spent, traced)


def with_steps(config: ConfigDict, examples: int) -> ConfigDict:
    """A copy of the config whose `finetune.epochs`, if any, have become steps, rounded down."""
    config = config.copy_and_resolve_references()
    settings = config.finetune
    if settings.epochs:
        epoch = examples / settings.batch_size
        settings.steps = max(1, int(epoch * settings.epochs))
        settings.optimizer.warmup_steps = int(settings.steps * settings.warmup_share)
        for name in ("evaluate_every", "save_every"):
            settings[name] = settings[name] or max(1, round(epoch))
    return config


def label_phase(
    config: ConfigDict, cfg: ModelConfig, encoder: Params, tokenizer: Tokenizer, sets: LabelSets, layout: Layout | None
) -> Phase:
    """A fresh classifier on a pretrained encoder, everything learning at the task's rate."""
    settings = config.finetune
    features = LabelFeatures.build(tokenizer, sets.train, settings.sequence_length, settings.bucketing)
    planned = label_programs(config, cfg, sets.labels)
    return encoder_phase(config, cfg, encoder, label_model(cfg, sets.labels), planned, features, layout)


class _Tuning:
    """One process' work on a task."""

    def __init__(self, config: ConfigDict, sets: LabelSets, model_folder: Path, place: Place, stopper: HasReason):
        self.config, self.sets, self.place, self.stopper = config, sets, place, stopper
        self.folder = place.folder / "finetune"
        self.cfg, self.encoder, self.tokenizer = read_encoder(config, model_folder, pooler=True)
        self.model = label_model(self.cfg, sets.labels)
        settings = config.finetune
        checkpoints = place.checkpoints("finetune")
        self.selection = BestOnDev(self.folder, self.model, settings.select == "best", settings.patience, checkpoints)
        self.forward = label_forward(self.model)
        self.buckets = length_buckets(settings.sequence_length, settings.bucketing)

    def run(self, spent: TimeSpent, traced: Traced | None) -> dict[str, Any]:
        """Trains, chooses, writes."""
        if reason := agreed_reason(self.stopper):
            raise Stopped(f"{reason}; {NEXT}")
        phase = interruptible_together(self._phase, self.stopper, NEXT)
        places = self.place.checkpoints("finetune"), self.place.keep_soon
        last = whole(run_phase(phase, self.folder, self.stopper, spent, traced, *places))
        with spent.spending("evaluate"):
            return on_first(lambda: self._finish(last)) or {}

    def _phase(self) -> Phase:
        length = self.config.finetune.sequence_length
        self.dev = {
            part: Pairs.build(self.tokenizer, examples.texts, examples.text_pairs, length)
            for part, examples in self.sets.dev.items()
        }
        made = label_phase(self.config, self.cfg, self.encoder, self.tokenizer, self.sets, make_layout(self.config))
        return dataclasses.replace(made, evaluate=self._evaluate, selection=self.selection)

    def _evaluate(self, params: Params, stop: Callable[[], Any]) -> dict[str, Any] | None:
        """Scores on the dev set by name, and their mean; process 0 makes them alone, on one device."""
        if stop():
            return None
        params = whole(params) if jax.device_count() > 1 else params
        figures = on_first(lambda: self._figures(params))
        return json.loads(exchange(json.dumps(figures) if is_first() else "")[0])

    def _figures(self, params: Params) -> dict[str, float]:
        scores = self._scores(self._logits(params))
        return {**_named(scores), SCORE: task_score(scores)}

    def _logits(self, params: Params, predict: Callable[[Params, Batch], Array] | None = None) -> dict[str, np.ndarray]:
        """Of every part of the dev set."""
        predict = functools.partial(predict or self.forward, params)
        classes = max(1, len(self.sets.labels))
        size = self.config.finetune.batch_size
        return {part: predict_labels(predict, pairs, self.buckets, size, classes) for part, pairs in self.dev.items()}

    def _scores(self, logits: dict[str, np.ndarray]) -> dict[str, Any]:
        said = {part: predictions(own) for part, own in logits.items()}
        return part_scores(self.sets.metrics, self.sets.dev, said)

    def _finish(self, last: Params) -> dict[str, Any]:
        """Writes the chosen model, its predictions and results.json; returns the results."""
        best_step, _ = self.selection.chosen()
        params = self.selection.chosen_params() if self.config.finetune.select == "best" else last
        params = jax.tree.map(jnp.asarray, params)
        for place in (self.folder / "model", self.place.folder / "model"):
            save_pretrained(place, self.model, params, self.tokenizer)
        logits = self._logits(params, self._stoppable)
        for part, examples in self.sets.dev.items():
            write_label_predictions(self.folder / f"{part}.tsv", examples, self.sets.labels, logits[part])
        scores = self._scores(logits)
        counts = {"train": self.sets.train, **self.sets.dev}
        results = {
            "task": self.sets.task,
            "examples": {part: len(examples) for part, examples in counts.items()},
            "labels": list(self.sets.labels),
            "steps": self.config.finetune.steps,
            "best_step": best_step,
            SCORE: task_score(scores),
            "student": scores,
            "baselines": baseline_scores(self.sets),
        }
        write_json(self.folder / "results.json", results)
        self.selection.clear()
        return results

    def _stoppable(self, params: Params, batch: Batch) -> Array:
        stop_if_asked(self.stopper, "finetune is trained, its model is not scored yet")
        return self.forward(params, batch)


def _named(scores: Mapping[str, Any]) -> dict[str, float]:
    """One name a figure: `accuracy`, or `dev_matched_accuracy`."""
    named = {}
    for name, value in scores.items():
        own = {f"{name}_{metric}": figure for metric, figure in value.items()} if isinstance(value, dict) else {}
        named |= own or {name: value}
    return named
