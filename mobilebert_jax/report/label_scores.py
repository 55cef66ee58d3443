"""Scores on labelled texts: GLUE's beside the paper's, and your own."""

from typing import Any

from mobilebert_jax.report.markup import Markup, bar, figure, join, note, table, tile
from mobilebert_jax.report.run_folder import RunFolder
from mobilebert_jax.tasks.glue_tasks import TASKS

PAPER = {
    # task: MobileBERT_TINY, MobileBERT, MobileBERT without OPT; on the test set, one metric each
    "cola": ("matthews", 46.7, 50.5, 51.1),
    "sst2": ("accuracy", 91.7, 92.8, 92.6),
    "mrpc": ("f1", 87.9, 88.8, 88.8),
    "stsb": ("spearman", 80.1, 84.4, 84.8),
    "qqp": ("f1", 68.9, 70.2, 70.5),
    "mnli": ("accuracy, matched", 81.5, 83.3, 84.3),
    "qnli": ("accuracy", 89.5, 90.6, 91.6),
    "rte": ("accuracy", 65.1, 66.2, 70.4),
}
"""Sun et al. 2020, table 4 (as huggingface/nn_pruning transcribes it); the metrics are those of BERT's paper."""

MODELS = ("MobileBERT_TINY", "MobileBERT", "MobileBERT w/o OPT")


def is_labelled(run: RunFolder) -> bool:
    """Whether the run was fine-tuned on labels, not on questions."""
    task = run.run["inputs"].get("--task", "")
    return task in TASKS or task in ("classification", "regression", "tokens")


def label_tile(results: dict[str, Any] | None) -> Markup:
    """The score at a glance."""
    if not results:
        return tile("labels", figure(None), "not scored yet")
    return tile(results["task"], figure(results["score"], 1), f"percent, step {results['best_step']:,}")


def label_table(results: dict[str, Any] | None) -> Markup:
    """The model and the baselines on every part of the dev set; below them the paper's figures on the test set."""
    if not results:
        return note("Nothing has been scored yet.")
    rows, header = [], []
    for part in (part for part in results["examples"] if part != "train"):
        for name, scores in {"student": results["student"], **results["baselines"]}.items():
            own = scores.get(part, scores)
            header = ["", *own]
            # A correlation may be below 0.
            cells = [bar(max(value, 0.0) / 100, figure(value, 1)) for value in own.values()]
            rows.append([f"{name.replace('_', ' ')}, {part.replace('_', ' ')}", *cells])
    counts = ", ".join(f"{count:,} in {part}" for part, count in results["examples"].items())
    made = [table(header, rows, [0]), note(f"{results['task']}, percent; examples: {counts}")]
    if results["task"] in PAPER:
        metric, *values = PAPER[results["task"]]
        made.append(table(["the paper, test set", metric], [list(pair) for pair in zip(MODELS, values, strict=True)]))
    return join(*made)
