"""GLUE's tasks in a run's report: the student's figures, the best baseline's and the paper's."""

from pathlib import Path
from typing import Any

from mobilebert_jax.report.markup import MISSING, Markup, figure, join, note, table
from mobilebert_jax.report.paper import MODELS, published
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.label_scores import glue_averages
from mobilebert_jax.utils.files import read_json


def glue_results(workdir: Path) -> dict[str, dict[str, Any]]:
    """task -> results of what is finished below `workdir/glue`, in GLUE's order."""
    files = {task: workdir / "glue" / task / "finetune" / "results.json" for task in TASKS}
    return {task: read_json(file) for task, file in files.items() if file.is_file()}


def glue_table(results: dict[str, dict[str, Any]]) -> Markup:
    """A row a figure; the paper's are of the test sets and of one metric a task."""
    rows = []
    for task, own in results.items():
        for part in (part for part in own["examples"] if part != "train"):
            baselines = [scores.get(part, scores) for scores in own["baselines"].values()]
            for metric, value in own["student"].get(part, own["student"]).items():
                name = ", ".join([task, *([part.replace("_", " ")] if len(own["examples"]) > 2 else []), metric])
                best = max(scores[metric] for scores in baselines)
                theirs = (figure(published(model, task, part, metric), 1) for model in MODELS)
                rows.append([name, figure(value, 1), figure(best, 1), *theirs])
    means = glue_averages({task: own["student"] for task, own in results.items()})
    counted = means.pop("tasks")
    averages = [[name.replace("_", " "), figure(value, 1)] for name, value in means.items()]
    header = [
        f"dev sets of {counted} task{'s' * (counted > 1)}, percent",
        "student",
        "best baseline",
        *(f"{name}, test" for name in MODELS),
    ]
    return join(
        table(header, rows + [[*row, *[MISSING] * (len(header) - 2)] for row in averages]),
        note("The paper's columns are its figures on the test sets; each task's model lies in glue/<task>/model"),
    )
