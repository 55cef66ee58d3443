"""Scores on labelled texts as tables on stdout."""

from collections.abc import Mapping
from typing import Any

from mobilebert_jax.cli.tables import COLUMNS
from mobilebert_jax.tasks.label_scores import glue_figures, scores_by_part


def print_label_results(results: Mapping[str, Any]) -> None:
    """A fine-tuned model beside the baselines, one row each; one table for every part of the dev set."""
    for part, rows in scores_by_part(results).items():
        columns, count = list(rows["student"]), results["examples"][part]
        print(f"{results['task']} {part}, {count:,} examples".ljust(36) + "".join(f"{name:>12}" for name in columns))
        for name, scores in rows.items():
            shown = "model" if name == "student" else name
            print(f"  {shown:<34}" + "".join(f"{scores[column]:>12.1f}" for column in columns))
    print(f"chosen: step {results['best_step']:,} of {results['steps']:,}")


def print_glue(results: Mapping[str, Mapping[str, Any]], averages: Mapping[str, float]) -> None:
    """A line a task and figure, the best baseline beside it; then the averages."""
    print(f"GLUE, dev sets of {len(results)} tasks".ljust(36) + f"{'model':>12}{'baseline':>12}")
    for own in glue_figures(results):
        name = " ".join(filter(None, (own.task, own.part, own.metric)))
        print(f"  {name:<34}{own.value:>12.1f}{own.baseline:>12.1f}")
    for name in (name for name in averages if name != "tasks"):
        print(f"  {name:<34}{averages[name]:>12.1f}")


def print_label_scores(scores: Mapping[str, Any]) -> None:
    """One line a figure."""
    for name, value in scores.items():
        if isinstance(value, Mapping):
            for metric, figure in value.items():
                print(f"{name + ' ' + metric:<28} {_written(figure)}")
        else:
            print(f"{name:<28} {_written(value)}")


def print_repeats(results: Mapping[str, Any]) -> None:
    """Mean and deviation over the seeds, a row for each point of the grid, the best first; then the baselines."""
    points = results["points"]
    found = points[0]["student"]
    figures = [name for name in COLUMNS if name in found] or list(found)
    count = len(results["seeds"])
    print(f"{results['task']}, {count} seed{'s' if count > 1 else ''}".ljust(44) + "".join(f"{n:>18}" for n in figures))
    for point in points:
        name = ", ".join(f"{setting} {value:g}" for setting, value in point["settings"].items()) or "model"
        cells = (f"{own['mean']:.1f} ± {own['deviation']:.1f}" for own in point["student"].values())
        print(f"  {name:<42}" + "".join(f"{cell:>18}" for cell in cells))
    for name, scores in results["baselines"].items():
        values = [scores.get(figure) for figure in figures]
        if None not in values:
            print(f"  {name:<42}" + "".join(f"{value:>18.1f}" for value in values))


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "nothing"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
