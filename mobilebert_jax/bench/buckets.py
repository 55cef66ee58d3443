"""`bench finetune --task`: what length batches save on a task's examples.

Steps of every length that the task's batches have are timed in turn with steps of the whole length; how often each
length comes is counted over the batches of several groups of steps, as fine-tuning draws them.
"""

import collections
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from mobilebert_jax.bench.stepping import TuningStep, interleaved
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.recipes.encoders import Features
from mobilebert_jax.recipes.finetune import question_features
from mobilebert_jax.recipes.labels import load_label_sets
from mobilebert_jax.recipes.programs import finetune_programs, label_model, label_programs
from mobilebert_jax.recipes.questions import THRESHOLDS, load_question_sets
from mobilebert_jax.recipes.settings import model_config
from mobilebert_jax.tasks.epochs import SORTED_STEPS
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.utils.errors import UserError

GROUPS = 4
"""Of `SORTED_STEPS` steps each, over which lengths are counted."""


def bench_buckets(
    config: ConfigDict, task: str, repeats: int, beside: Mapping[str, Callable[[], Any]] | None = None
) -> dict[str, Any]:
    """Examples a second with and without length batches, their ratio, and what it is made of.

    The set is `config.finetune.dataset`, or `questions`; the words are those of `config.data.tokenizer`, the weights
    are fresh.
    `lengths`: for each length of a batch, its share of the steps and the median seconds of `repeats` steps. `beside`:
    other work that is timed in turn with them; its medians are the report's `beside`.

    Raises:
        UserError: no such task or set, or a config whose tokenizer would first have to be trained.
    """
    tokenizer, settings = given_tokenizer(config), config.finetune
    make, work = (_questions if task in THRESHOLDS else _labels)(config, task, tokenizer)
    features = make(True)
    batches = {}
    counted: collections.Counter[int] = collections.Counter()
    for step in range(GROUPS * SORTED_STEPS):
        batch = features.batch(step, config.seed, settings.batch_size)
        counted[batch["input_ids"].shape[1]] += 1
        batches[batch["input_ids"].shape[1]] = batch
    batches[settings.sequence_length] = make(False).batch(0, config.seed, settings.batch_size)
    placed = {length: jax.tree.map(jax.numpy.asarray, batch) for length, batch in batches.items()}
    works = {length: functools.partial(work, batch) for length, batch in placed.items()}
    medians = interleaved({**works, **(beside or {})}, repeats)
    mean = sum(medians[length] * count for length, count in counted.items()) / counted.total()
    rows = settings.batch_size
    return {
        "device": jax.devices()[0].device_kind,
        "task": task,
        "batch": [rows, settings.sequence_length],
        "repeats": repeats,
        "lengths": [
            {"length": length, "share": counted[length] / counted.total(), "seconds": medians[length]}
            for length in sorted(works)
        ],
        **({"beside": {name: medians[name] for name in beside}} if beside else {}),
        "examples_per_second": {"buckets": rows / mean, "whole": rows / medians[settings.sequence_length]},
        "ratio": medians[settings.sequence_length] / mean,
    }


def given_tokenizer(config: ConfigDict) -> Tokenizer:
    """The config's; UserError where it would first have to be trained."""
    if config.data.tokenizer == "train":
        raise UserError("bench finetune --task: give a tokenizer, --config.data.tokenizer=vocab.txt or a model folder")
    return load_tokenizer(config.data.tokenizer)


def _labels(config: ConfigDict, task: str, tokenizer: Tokenizer) -> tuple[Callable[[bool], Features], TuningStep]:
    """What makes the training examples, with length batches or without, and a step on them."""
    sets, settings = load_label_sets(config.finetune, task), config.finetune
    cfg = model_config(config, "student", tokenizer.vocab_size)
    planned = label_programs(config, cfg, sets.labels, sets.head)
    step = TuningStep(config, label_model(cfg, sets.labels, sets.head), planned)
    return lambda bucketing: sets.features(tokenizer, _with_buckets(settings, bucketing)), step


def _with_buckets(settings: ConfigDict, wanted: bool) -> ConfigDict:
    settings = settings.copy_and_resolve_references()
    settings.bucketing = wanted
    return settings


def _questions(config: ConfigDict, task: str, tokenizer: Tokenizer) -> tuple[Callable[[bool], Features], TuningStep]:
    """The same of windows over passages."""
    train = load_question_sets(config.finetune, task).train
    cfg = model_config(config, "student", tokenizer.vocab_size)
    step = TuningStep(config, build_model(cfg, "qa"), finetune_programs(config, cfg))
    return lambda bucketing: question_features(config, tokenizer, train, bucketing), step


def print_buckets(report: dict[str, Any]) -> None:
    """The table."""
    rows, whole = report["batch"]
    print(f"{report['device']}, {report['task']}, {rows} examples a step, medians of {report['repeats']} steps")
    print(f"{'tokens':>8}{'of the steps':>14}{'s a step':>10}")
    for row in report["lengths"]:
        print(f"{row['length']:8}{row['share']:14.1%}{row['seconds']:10.3f}")
    rates = report["examples_per_second"]
    print(f"{rates['buckets']:.1f} examples/s, all of {whole} tokens {rates['whole']:.1f}: ratio {report['ratio']:.2f}")
