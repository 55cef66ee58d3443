"""What `evaluate` said of a run's model, beside the paper's figures."""

from typing import Any

from mobilebert_jax.recipes.evaluations import read_evaluations
from mobilebert_jax.report.markup import Markup, figure, join, note, table
from mobilebert_jax.report.paper import paper_rows
from mobilebert_jax.report.run_folder import RunFolder

NOT_SCORES = {"score", "best_exact_thresh", "best_f1_thresh"}


def has_evaluations(run: RunFolder) -> bool:
    """Whether there are any."""
    return bool(read_evaluations(run.path))


def evaluation_table(run: RunFolder) -> Markup:
    """A table for each task, and part of one, that the run's model was evaluated on."""
    tables: dict[tuple[str, str], list[tuple[str, dict[str, float]]]] = {}
    for own in read_evaluations(run.path):
        name = f"{str(own.get('dataset')).rstrip('/').rpartition('/')[2]}, {own.get('computed_in')}"
        for part, scores in _parts(own).items():
            tables.setdefault((str(own.get("task")), part), []).append((name, scores))
    made = []
    for (task, part), rows in tables.items():
        columns = list(dict.fromkeys(metric for _, scores in rows for metric in scores))
        body = [[name, *(figure(scores.get(column), 1) for column in columns)] for name, scores in rows]
        body += paper_rows(task, part, columns)
        made.append(table([f"{task} {part}".strip().replace("_", " "), *columns], body, range(len(rows))))
    return join(*made, note("percent, by `mobilebert evaluate`"))


def _parts(own: dict[str, Any]) -> dict[str, dict[str, float]]:
    """part -> metric -> percent; the part is "" where there is one."""
    plain = {
        name: value
        for name, value in own.items()
        if isinstance(value, float) and name not in NOT_SCORES and not name.endswith("_total")
    }
    nested = {
        name: {metric: figure for metric, figure in value.items() if isinstance(figure, float)}
        for name, value in own.items()
        if isinstance(value, dict) and name not in ("examples", "baselines")
    }
    return ({"": plain} if plain else {}) | {name: scores for name, scores in nested.items() if scores}
