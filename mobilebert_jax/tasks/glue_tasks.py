"""The nine tasks of GLUE and its diagnostic set (Wang et al. 2019): files, columns, labels, metrics.

The order of the labels is that of the published data sets on the hub and in TFDS.
"""

from dataclasses import dataclass

from mobilebert_jax.utils.errors import UserError

ENTAILMENT = ("entailment", "not_entailment")
BINARY = ("0", "1")
THREE_WAY = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class GlueTask:
    """One task.

    Attributes:
        folder: the name of its folder of tsv files.
        columns: of the text, its pair ("" for none) and the label, by the headers of the tsv files.
        fields: the same in the data sets `hf:` and `tfds:`.
        labels: the classes' names as the tsv files write them; () where the label is a number.
        metrics: what the leaderboard shows, of `label_scores.METRICS`.
        dev: its parts with labels besides "train".
        submissions: part without labels -> the name of the leaderboard's file.
        headless: the names of the columns of files without a header, which train and dev then are.
    """

    name: str
    folder: str
    columns: tuple[str, str, str]
    fields: tuple[str, str, str]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    submissions: dict[str, str]
    dev: tuple[str, ...] = ("dev",)
    headless: tuple[str, ...] = ()

    @property
    def pairs(self) -> bool:
        """Whether an example is two texts."""
        return bool(self.columns[1])

    @property
    def parts(self) -> tuple[str, ...]:
        """All its parts."""
        return (*(("train",) if self.dev else ()), *self.dev, *self.submissions)


SENTENCES = ("sentence1", "sentence2", "label")
PREMISES = ("premise", "hypothesis", "label")

TASKS = {
    task.name: task
    for task in (
        GlueTask(
            name="cola",
            folder="CoLA",
            columns=("sentence", "", "label"),
            fields=("sentence", "", "label"),
            labels=BINARY,
            metrics=("matthews",),
            submissions={"test": "CoLA.tsv"},
            headless=("source", "label", "mark", "sentence"),
        ),
        GlueTask(
            name="sst2",
            folder="SST-2",
            columns=("sentence", "", "label"),
            fields=("sentence", "", "label"),
            labels=BINARY,
            metrics=("accuracy",),
            submissions={"test": "SST-2.tsv"},
        ),
        GlueTask(
            name="mrpc",
            folder="MRPC",
            columns=("#1 String", "#2 String", "Quality"),
            fields=SENTENCES,
            labels=BINARY,
            metrics=("accuracy", "f1"),
            submissions={"test": "MRPC.tsv"},
        ),
        GlueTask(
            name="stsb",
            folder="STS-B",
            columns=("sentence1", "sentence2", "score"),
            fields=SENTENCES,
            labels=(),
            metrics=("pearson", "spearman"),
            submissions={"test": "STS-B.tsv"},
        ),
        GlueTask(
            name="qqp",
            folder="QQP",
            columns=("question1", "question2", "is_duplicate"),
            fields=("question1", "question2", "label"),
            labels=BINARY,
            metrics=("accuracy", "f1"),
            submissions={"test": "QQP.tsv"},
        ),
        GlueTask(
            name="mnli",
            folder="MNLI",
            columns=("sentence1", "sentence2", "gold_label"),
            fields=PREMISES,
            labels=THREE_WAY,
            metrics=("accuracy",),
            dev=("dev_matched", "dev_mismatched"),
            submissions={"test_matched": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"},
        ),
        GlueTask(
            name="qnli",
            folder="QNLI",
            columns=("question", "sentence", "label"),
            fields=("question", "sentence", "label"),
            labels=ENTAILMENT,
            metrics=("accuracy",),
            submissions={"test": "QNLI.tsv"},
        ),
        GlueTask(
            name="rte",
            folder="RTE",
            columns=("sentence1", "sentence2", "label"),
            fields=SENTENCES,
            labels=ENTAILMENT,
            metrics=("accuracy",),
            submissions={"test": "RTE.tsv"},
        ),
        GlueTask(
            name="wnli",
            folder="WNLI",
            columns=("sentence1", "sentence2", "label"),
            fields=SENTENCES,
            labels=BINARY,
            metrics=("accuracy",),
            submissions={"test": "WNLI.tsv"},
        ),
        GlueTask(
            name="ax",
            folder="diagnostic",
            columns=("sentence1", "sentence2", "label"),
            fields=PREMISES,
            labels=THREE_WAY,
            metrics=("matthews",),
            dev=(),
            submissions={"diagnostic": "AX.tsv"},
        ),
    )
}
"""By the names of the hub; `ax` has no training set, it is answered by a model of `mnli`."""


def glue_task(name: str) -> GlueTask:
    """The task of that name; UserError for another."""
    if name not in TASKS:
        raise UserError(f"task {name!r}: must be one of {', '.join(TASKS)}")
    return TASKS[name]
