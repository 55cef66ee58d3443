"""Scores on labelled texts: GLUE's beside the paper's, and your own."""

from typing import Any

from mobilebert_jax.report.markup import Markup, bar, figure, join, note, table, tile
from mobilebert_jax.report.paper import paper_rows
from mobilebert_jax.report.run_folder import RunFolder
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.label_scores import scores_by_part


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
    """For every part of the dev set: the model, the baselines, and the paper's figures on the test set."""
    if not results:
        return note("Nothing has been scored yet.")
    tables = []
    for part, whose in scores_by_part(results).items():
        columns, rows = list(whose["student"]), []
        for name, own in whose.items():
            # A correlation may be below 0.
            cells = [bar(max(value, 0.0) / 100, figure(value, 1)) for value in own.values()]
            rows.append([f"{name.replace('_', ' ')}, {part.replace('_', ' ')}", *cells])
        tables.append(table(["", *columns], rows + paper_rows(results["task"], part, columns), [0]))
    counts = ", ".join(f"{count:,} in {part}" for part, count in results["examples"].items())
    return join(*tables, note(f"{results['task']}, percent; examples: {counts}"))
