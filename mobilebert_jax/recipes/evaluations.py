"""What `evaluate` has found of a run's models, kept in the run's folder for its page."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilebert_jax.recipes.workdir import read_run
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json, write_json

NAME = "evaluations.json"
MODELS = ("model", "finetune/model")
"""A run's fine-tuned models, below its folder."""

SAME = ("task", "dataset", "part", "computed_in")
"""Evaluations that agree in these replace each other."""


def keep_evaluation(model: str | Path, task: str, dataset: str, scores: Mapping[str, Any], part: str = "") -> None:
    """Adds scores to `evaluations.json` of the run whose model was scored.

    Nothing is written of another model, nor of predictions without scores (a test set's, which have only `missing`).
    A folder that cannot be written to is a warning: the scores are known all the same.
    """
    run = _run_of(Path(model).absolute())
    if run is None or "missing" in scores:
        return
    found = {**scores, "task": task, "dataset": dataset, "part": part}
    key = [found.get(name) for name in SAME]
    others = [own for own in read_evaluations(run) if [own.get(name) for name in SAME] != key]
    try:
        write_json(run / NAME, [*others, found])
    except OSError as error:
        warnings.warn(f"{run / NAME}: {error.strerror}; the run's page will not show these scores", stacklevel=2)


def read_evaluations(run: str | Path) -> list[dict[str, Any]]:
    """All that are kept of a run, oldest first; [] of a file that is not there or no list of objects."""
    try:
        found = read_json(Path(run) / NAME)
    except (OSError, ValueError):
        return []
    return [own for own in found if isinstance(own, dict)] if isinstance(found, list) else []


def _run_of(model: Path) -> Path | None:
    for name in MODELS:
        run = model.parents[name.count("/")]
        if model == run / name and (run / "config.json").is_file():
            try:
                read_run(run / "config.json")
            except UserError:
                continue
            return run
    return None
