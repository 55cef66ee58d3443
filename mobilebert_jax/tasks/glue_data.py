"""GLUE's parts as examples, from folders of tsv files or from data sets `hf:` and `tfds:`."""

from pathlib import Path

from mobilebert_jax.tasks.examples import Examples, Row, make_examples
from mobilebert_jax.tasks.glue_tasks import GlueTask
from mobilebert_jax.text.tables import REFUSE, Record, is_data_set, read_data_set, read_tsv
from mobilebert_jax.utils.errors import UserError

INDEX_COLUMNS = ("index", "id", "idx")
"""What the number of an example is called, by the first that is there."""


def load_glue(task: GlueTask, part: str, spec: str, bad_rows: str = REFUSE) -> Examples:
    """One part of a task: `train`, one of `task.dev` with labels, one of `task.submissions` without.

    `spec`: GLUE's folder or the task's own in it, `hf:NAME`, `hf:FOLDER`, `tfds:glue`, `tfds:` and a prepared folder.

    Raises:
        UserError: no such part, file, column or data set, lines with wrong columns, labels outside the task's.
    """
    if part not in task.parts:
        raise UserError(f"{task.name} has no part {part!r}; there are {', '.join(task.parts)}")
    labelled = part not in task.submissions
    if is_data_set(spec):
        records, (text, pair, label) = _data_set(task, part, spec), task.fields
        source = f"{spec} {part}"
    else:
        path = tsv_path(task, part, spec)
        records = read_tsv(path, task.headless if labelled else (), bad_rows)
        (text, pair, label), source = task.columns, str(path)
    if not records:
        raise UserError(f"{source}: no examples in it")
    for column in filter(None, (text, pair, label if labelled else "")):
        if column not in records[0].values:
            there = ", ".join(records[0].values)
            raise UserError(f"{records[0].place}: no column {column!r}, {task.name} needs it; there are {there}")
    rows = [_row(task, number, record, (text, pair, label), labelled) for number, record in enumerate(records)]
    return make_examples(rows, task.labels, source, labelled)


def glue_parts(task: GlueTask, spec: str) -> list[str]:
    """The parts that are there; of a data set, all."""
    if is_data_set(spec):
        return list(task.parts)
    return [part for part in task.parts if (task_folder(task, spec) / f"{part}.tsv").is_file()]


def task_folder(task: GlueTask, spec: str) -> Path:
    """The folder of a task's tsv files: `spec` itself or the one in it; UserError where there is none."""
    whole = Path(spec)
    if not whole.is_dir():
        raise UserError(f"{spec}: no such folder; GLUE's folder of tsv files, hf:nyu-mll/glue or tfds:glue is needed")
    own = whole / task.folder
    return own if own.is_dir() else whole


def tsv_path(task: GlueTask, part: str, spec: str) -> Path:
    """The file of a part; UserError where it is missing."""
    path = task_folder(task, spec) / f"{part}.tsv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; {task.name} needs it (or {task.folder}/{part}.tsv in --dataset)")
    return path


def _data_set(task: GlueTask, part: str, spec: str) -> list[Record]:
    split = "test" if part == "diagnostic" else part.replace("dev", "validation")
    return read_data_set(spec, task.name, split)


def _row(task: GlueTask, number: int, record: Record, columns: tuple[str, str, str], labelled: bool) -> Row:
    text, pair, label = columns
    values = record.values
    index = next((str(values[name]) for name in INDEX_COLUMNS if name in values), str(number))
    for name in filter(None, (text, pair)):
        if not isinstance(values[name], str):
            raise UserError(f"{record.place}: {name} is {type(values[name]).__name__}; a text is needed")
    own = _label(task, record, label) if labelled else None
    return Row(record.place, index, values[text], values[pair] if pair else None, own)


def _label(task: GlueTask, record: Record, column: str) -> str:
    value = record.values[column]
    if value is None:
        raise UserError(f"{record.place}: no label; this part needs them")
    # Data sets number the classes of the tsv files' 0 and 1, or name them otherwise, in the same order.
    if isinstance(value, int) and task.labels and 0 <= value < len(task.labels):
        return task.labels[value]
    return CLASS_NAMES.get((task.name, str(value)), str(value))


CLASS_NAMES = {
    ("cola", "unacceptable"): "0",
    ("cola", "acceptable"): "1",
    ("sst2", "negative"): "0",
    ("sst2", "positive"): "1",
    ("mrpc", "not_equivalent"): "0",
    ("mrpc", "equivalent"): "1",
    ("qqp", "not_duplicate"): "0",
    ("qqp", "duplicate"): "1",
    ("wnli", "not_entailment"): "0",
    ("wnli", "entailment"): "1",
}
"""What the data sets of the hub call the classes that the tsv files number."""
