"""The paper's scores, to stand beside those of a run."""

from collections.abc import Sequence

from mobilebert_jax.report.markup import figure

PAPER: dict[str, dict[str, dict[str, float]]] = {
    "BERT_BASE": {
        "cola": {"matthews": 52.1},
        "squad1": {"f1": 88.5},
        "squad2": {"f1": 77.1},
    },
    "MobileBERT_TINY": {
        "cola": {"matthews": 46.7},
        "sst2": {"accuracy": 91.7},
        "mrpc": {"f1": 87.9},
        "stsb": {"spearman": 80.1},
        "qqp": {"f1": 68.9},
        "mnli dev_matched": {"accuracy": 81.5},
        "mnli dev_mismatched": {"accuracy": 81.6},
        "qnli": {"accuracy": 89.5},
        "rte": {"accuracy": 65.1},
        "squad1": {"exact": 81.4, "f1": 88.6},
        "squad2": {"exact": 74.4, "f1": 77.1},
    },
    "MobileBERT": {
        "cola": {"matthews": 50.5},
        "sst2": {"accuracy": 92.8},
        "mrpc": {"f1": 88.8},
        "stsb": {"spearman": 84.4},
        "qqp": {"f1": 70.2},
        "mnli dev_matched": {"accuracy": 83.3},
        "mnli dev_mismatched": {"accuracy": 82.6},
        "qnli": {"accuracy": 90.6},
        "rte": {"accuracy": 66.2},
        "squad1": {"exact": 82.9, "f1": 90.0},
        "squad2": {"exact": 76.2, "f1": 79.2},
    },
    "MobileBERT w/o OPT": {
        "cola": {"matthews": 51.1},
        "sst2": {"accuracy": 92.6},
        "mrpc": {"f1": 88.8},
        "stsb": {"spearman": 84.8},
        "qqp": {"f1": 70.5},
        "mnli dev_matched": {"accuracy": 84.3},
        "mnli dev_mismatched": {"accuracy": 83.4},
        "qnli": {"accuracy": 91.6},
        "rte": {"accuracy": 70.4},
        "squad1": {"exact": 83.4, "f1": 90.3},
        "squad2": {"exact": 77.6, "f1": 80.2},
    },
}
"""Sun et al. 2020, percent, as huggingface/nn_pruning transcribes it; of BERT_BASE what the abstract and summaries say.

GLUE's are those of its hidden test sets, matched and mismatched in the place of our dev sets, with the metrics of
BERT's paper: Matthews for CoLA, F1 for MRPC and QQP, Spearman for STS-B. SQuAD's are those of its dev sets.
"""


MODELS = tuple(name for name in PAPER if name.startswith("MobileBERT"))
"""The paper's own."""


def published(model: str, task: str, part: str, metric: str) -> float | None:
    """The paper's figure of a model; None where it has none. `part`: as in `results.json`."""
    scores = PAPER[model]
    return scores.get(f"{task} {part}", scores.get(task, {})).get(metric)


def paper_rows(task: str, part: str, columns: Sequence[str]) -> list[list[str]]:
    """A row for each model of the paper: its name, its figures in these columns; [] for a task that it has not."""
    whose = "dev set" if task.startswith("squad") else "test set"
    rows = []
    for name in PAPER:
        values = [published(name, task, part, column) for column in columns]
        if any(value is not None for value in values):
            rows.append([f"{name}, the paper's {whose}", *(figure(value, 1) for value in values)])
    return rows
