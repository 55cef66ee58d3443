"""Scores of a finished classifier on GLUE or on labels of your own, and what the leaderboard takes."""

import glob
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.export.exported_folder import computed_in, loader
from mobilebert_jax.inference.classifier import Classifier
from mobilebert_jax.recipes.labels import (
    CLASSIFICATION,
    LABEL_TASKS,
    OWN_METRICS,
    part_scores,
    predictions,
    write_label_predictions,
)
from mobilebert_jax.recipes.tokens import TOKENS, evaluate_tokens
from mobilebert_jax.tasks.examples import Examples, make_examples
from mobilebert_jax.tasks.glue_data import glue_parts, load_glue
from mobilebert_jax.tasks.glue_submission import missing, write_submission
from mobilebert_jax.tasks.glue_tasks import TASKS, GlueTask
from mobilebert_jax.tasks.label_scores import glue_averages, task_score
from mobilebert_jax.tasks.own_data import Columns, read_rows
from mobilebert_jax.text.tables import REFUSE
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json


def evaluate_labels(
    model: str | Path,
    dataset: str,
    task: str,
    *,
    part: str = "",
    columns: Columns | None = None,
    output: str = "",
    bad_rows: str = "",
    batch_size: int = 32,
    sequence_length: int = 0,
    precision: str = "float32",
) -> dict[str, Any]:
    """Scores of a model folder with a classifier in percent, their mean as `score`, and `examples`, by part.

    An exported folder is run by its own runtime. Of `tokens`: see `evaluate_tokens`.

    `part`: of a GLUE task; by default all that have labels. `test` counts for the test sets of MNLI, too. A part
    without labels has no scores: its predictions go to `output`, as the leaderboard's file, which is packed with those
    that are there into submission.zip; `missing` names the others. Every other part gets a tsv of predictions there.
    `precision`: as in `at_precision`; the scores name it `computed_in`.

    Raises:
        UserError: no such model, classifier, examples or part, or the model's classes are not the task's.
    """
    if task not in LABEL_TASKS:
        raise UserError(f"task {task!r}: must be one of {', '.join(LABEL_TASKS)}")
    if batch_size < 1 or sequence_length < 0:
        raise UserError(f"--batch_size={batch_size}, --sequence_length={sequence_length}: must be positive")
    settings: dict[str, Any] = {"precision": precision, "batch_size": batch_size}
    settings |= {"sequence_length": sequence_length} if sequence_length else {}
    if part and task not in TASKS:
        raise UserError(f"--part={part}: your own labels have no parts; name the file by --dataset")
    if task == TOKENS:
        return evaluate_tokens(model, dataset, columns=columns, output=output, bad_rows=bad_rows, **settings)
    classifier = Classifier.from_pretrained(model, load=loader(model), **settings)
    if task in TASKS:
        order = class_order(classifier.labels, TASKS[task].labels, f"{model}, {task}")
        parts = _glue(TASKS[task], part, dataset, bad_rows or REFUSE, output)
        labels, metrics = TASKS[task].labels, TASKS[task].metrics
    else:
        labels, metrics, order = classifier.labels, OWN_METRICS[task], slice(None)
        if (task == CLASSIFICATION) != bool(labels):
            raise UserError(f"{model}: a model of {'classes' if labels else 'numbers'}, not for --task={task}")
        rows = read_rows(dataset, columns or Columns(), bad_rows=bad_rows or REFUSE)
        parts = {"dev": make_examples(rows, labels, dataset)}
    logits = {name: classifier.logits(own.texts, own.text_pairs)[:, order] for name, own in parts.items()}
    left = _write(Path(output), task, parts, labels, logits) if output else []
    scored = {name: own for name, own in parts.items() if own.labels is not None}
    counts = {name: len(own) for name, own in parts.items()}
    report: dict[str, Any] = {"task": task, "computed_in": computed_in(model, precision), "examples": counts}
    if scored:
        scores = part_scores(metrics, scored, {name: predictions(logits[name]) for name in scored})
        report |= {**scores, "score": task_score(scores)}
    return report | ({"missing": left} if len(scored) < len(parts) else {})


def average_runs(pattern: str) -> dict[str, Any]:
    """Scores of GLUE's tasks from finished runs, task -> scores, and `glue_averages` of them.

    `pattern`: folders, with commas between them, or globs. A folder that holds no finished run of a task is passed
    over; one of `--seeds` counts with the model that it has chosen.

    Raises:
        UserError: no finished run, or two of one task.
    """
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    paths = [Path(path) for part in pattern.split(",") for path in sorted(glob.glob(part))]
    for path in paths:
        results = _finished(path)
        task = results.get("task")
        if task not in TASKS:
            continue
        if task in found:
            raise UserError(f"--runs={pattern}: {found[task][0]} and {path} are both of {task}; name one of them")
        found[task] = path, results["student"]
    if not found:
        raise UserError(f"--runs={pattern}: no finished run of one of GLUE's tasks there")
    scores = {task: found[task][1] for task in TASKS if task in found}
    return {**scores, **glue_averages(scores)}


def _finished(run: Path) -> dict[str, Any]:
    """The results of a run, of the chosen one of several runs, or nothing."""
    several = run / "results.json"
    if several.is_file():
        run = run / str(read_json(several).get("best"))
    single = run / "finetune" / "results.json"
    return read_json(single) if single.is_file() else {}


def class_order(model: tuple[str, ...], task: tuple[str, ...], source: str) -> Any:
    """What picks a task's classes, in its order, out of the columns of a model's logits.

    Classes without names of their own (LABEL_0, ...) are taken in the task's order. Raises UserError where they are not
    the same classes.
    """
    plain = tuple(f"LABEL_{number}" for number in range(len(task)))
    if model in (plain, task):
        return slice(None)
    if set(model) != set(task):
        ours, theirs = (", ".join(names) or "a number" for names in (task, model))
        raise UserError(
            f"{source}: the model's classes are {theirs}, the task's {ours}; it was trained for something else"
        )
    return np.array([model.index(name) for name in task])


def _glue(task: GlueTask, part: str, dataset: str, bad_rows: str, output: str) -> dict[str, Examples]:
    """The parts that are asked for."""
    if part == "test" and "test" not in task.submissions:
        wanted = list(task.submissions)
    else:
        wanted = [part] if part else [*task.dev] or [*task.submissions]
    there = glue_parts(task, dataset)
    if unlabelled := [name for name in wanted if name in task.submissions and not output]:
        raise UserError(f"{task.name} {unlabelled[0]} has no labels to score: give --output=FOLDER for its predictions")
    # One of several test sets is enough; what was asked for by name must be there.
    wanted = [name for name in wanted if name in there] or wanted
    return {name: load_glue(task, name, dataset, bad_rows) for name in wanted}


def _write(
    folder: Path, task: str, parts: dict[str, Examples], labels: tuple[str, ...], logits: dict[str, np.ndarray]
) -> list[str]:
    """Writes predictions; returns what the leaderboard asks for beside what is there."""
    for name, examples in parts.items():
        if examples.labels is None:
            write_submission(folder, TASKS[task], name, examples.indices, predictions(logits[name]))
        else:
            write_label_predictions(folder / f"{task}-{name}.tsv", examples, labels, logits[name])
    return missing(folder)
