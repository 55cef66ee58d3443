"""`bench finetune --task --peer`: fine-tuning on real questions, beside the loop that people write with PyTorch.

Ours makes batches of like lengths. Theirs is timed as transformers' example script run_qa.py pads by default, every row
to the longest possible, and as its DataCollatorWithPadding does, every batch to its longest row. One run, one batch
size, the same windows; rows a second.
"""

import itertools
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mobilebert_jax.bench.buckets import bench_buckets, given_tokenizer, print_buckets
from mobilebert_jax.bench.finetune import THEIRS, torch_step
from mobilebert_jax.recipes.finetune import question_features
from mobilebert_jax.recipes.questions import THRESHOLDS, load_question_sets
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch

PADDED = {"whole": "every row to the window", "longest": "to the batch's longest row"}


def bench_loops(config: ConfigDict, task: str, repeats: int) -> dict[str, Any]:
    """What `bench_buckets` says, and `loops`: rows a second of theirs by kind of padding, and ours over each.

    Theirs takes another batch each time, `repeats` of them, in the order of an epoch.

    Raises:
        UserError: not a task of questions, or as `bench_buckets` and `bench_finetune`.
    """
    if task not in THRESHOLDS:
        raise UserError(f"bench finetune --peer: is for {', '.join(THRESHOLDS)}, not for {task}")
    config = ConfigDict(config.to_dict())
    config.model.student.update(THEIRS)
    tokenizer, rows = given_tokenizer(config), config.finetune.batch_size
    step = torch_step(config, tokenizer.vocab_size)
    features = question_features(config, tokenizer, load_question_sets(config.finetune, task).train, bucketing=False)
    drawn = [features.batch(number, config.seed, rows) for number in range(repeats + 1)]
    works = {}
    for name, batches in {"whole": drawn, "longest": [_cut(batch) for batch in drawn]}.items():
        turn = itertools.cycle(batches)
        works[name] = lambda turn=turn: step(next(turn))
    report = bench_buckets(config, task, repeats, works)
    ours = report["examples_per_second"]["buckets"]
    rates = {name: rows / seconds for name, seconds in report.pop("beside").items()}
    return {**report, "loops": {name: {"rows_per_second": rate, "ratio": ours / rate} for name, rate in rates.items()}}


def _cut(batch: Batch) -> Batch:
    """Without the columns that are padding in every row."""
    longest = int(np.sum(batch["attention_mask"], axis=1).max())
    return {name: values[:, :longest] if np.ndim(values) == 2 else values for name, values in batch.items()}


def print_loops(report: dict[str, Any]) -> None:
    """The table."""
    print_buckets(report)
    for name, own in report["loops"].items():
        said = f"transformers and PyTorch, padded {PADDED[name]}"
        print(f"{said:<58}{own['rows_per_second']:6.2f} rows/s; ours over it {own['ratio']:.2f}")
