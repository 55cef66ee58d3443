"""GLUE's tasks in a run's report: the student's figures, the best baseline's and the paper's."""

from pathlib import Path
from typing import Any

from mobilebert_jax.recipes.glue import FOLDER, averages
from mobilebert_jax.report.markup import MISSING, Markup, figure, join, note, table
from mobilebert_jax.report.paper import MODELS, published
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.label_scores import glue_figures
from mobilebert_jax.utils.files import read_json


def glue_results(workdir: Path) -> dict[str, dict[str, Any]]:
    """task -> results of what is finished below `workdir/glue`, in GLUE's order."""
    files = {task: workdir / FOLDER / task / "finetune" / "results.json" for task in TASKS}
    return {task: read_json(file) for task, file in files.items() if file.is_file()}


def glue_table(results: dict[str, dict[str, Any]]) -> Markup:
    """A row a figure; the paper's are of the test sets and of one metric a task."""
    rows = []
    for own in glue_figures(results):
        name = ", ".join(filter(None, (own.task, own.part.replace("_", " "), own.metric)))
        theirs = (figure(published(model, own.task, own.part, own.metric), 1) for model in MODELS)
        rows.append([name, figure(own.value, 1), figure(own.baseline, 1), *theirs])
    means = averages(results)
    counted = means.pop("tasks")
    lines = [[name.replace("_", " "), figure(value, 1)] for name, value in means.items()]
    header = [
        f"dev sets of {counted} task{'s' * (counted > 1)}, percent",
        "student",
        "best baseline",
        *(f"{name}, test" for name in MODELS),
    ]
    return join(
        table(header, rows + [[*row, *[MISSING] * (len(header) - 2)] for row in lines]),
        note("The paper's columns are its figures on the test sets; each task's model lies in glue/<task>/model"),
    )
