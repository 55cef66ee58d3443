"""The same fine-tuning several times: with other seeds, and over a grid of settings; means, deviations, the best."""

import itertools
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mobilebert_jax.parallel.processes import on_first
from mobilebert_jax.utils.addresses import is_address
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_folder, write_json

SETTINGS = {
    "batch_size": "finetune.batch_size",
    "learning_rate": "finetune.optimizer.learning_rate",
    "epochs": "finetune.epochs",
}
"""What a grid may vary, by short names."""

PAPER_GRID = (
    "batch_size=16,32,48;learning_rate=1e-5,2e-5,3e-5,4e-5,5e-5,6e-5,7e-5,8e-5,9e-5,1e-4;epochs=2,3,4,5,6,7,8,9,10"
)
"""Sun et al. 2020, section 4.4: 270 runs a seed."""

Point = tuple[tuple[str, float], ...]
"""Short names and values."""


class Repeat(NamedTuple):
    """One run of several: where it stands in the grid, its seed, and the name of its folder."""

    point: Point
    seed: int
    name: str


def parse_grid(text: str) -> list[Point]:
    """The points of `batch_size=16,32;learning_rate=1e-5,3e-5`, or of `paper`; one empty point of an empty text.

    Raises:
        UserError: an unknown setting, or values that are no numbers of its kind.
    """
    axes = []
    for part in filter(None, (PAPER_GRID if text == "paper" else text).split(";")):
        name, _, values = part.partition("=")
        if name not in SETTINGS:
            raise UserError(f"--sweep={text}: {name!r} is none of {', '.join(SETTINGS)}; or --sweep=paper")
        kind = int if name == "batch_size" else float
        try:
            axes.append([(name, kind(value)) for value in values.split(",")])
        except ValueError as error:
            raise UserError(f"--sweep={text}: {name}={values}: numbers with commas between them are needed") from error
    return list(itertools.product(*axes))


def repeats(config: ConfigDict, seeds: int, sweep: str) -> list[Repeat]:
    """Every point of the grid with every seed, counted from the config's."""
    if seeds < 1:
        raise UserError(f"--seeds={seeds}: must be at least 1")
    return [
        Repeat(point, seed, ",".join([*(f"{name}={value:g}" for name, value in point), f"seed={seed}"]))
        for point in parse_grid(sweep)
        for seed in range(config.seed, config.seed + seeds)
    ]


def changed(config: ConfigDict, repeat: Repeat) -> ConfigDict:
    """The config of one run of several."""
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict({SETTINGS[name]: value for name, value in repeat.point} | {"seed": repeat.seed})
    return config


def run_repeats(
    tune: Callable[[ConfigDict, Path], dict[str, Any]],
    config: ConfigDict,
    wanted: Sequence[Repeat],
    workdir: str | Path,
) -> dict[str, Any]:
    """`tune(config, folder)` for all of them, one after another, each in a folder of its own below `workdir`.

    What is finished is not done again. Returns what `workdir/results.json` holds: `points`, each with its settings, the
    `values` of every seed's score, `mean` and `deviation` (of n - 1; 0 of a single seed), and the same for each figure;
    best mean first. `best` names the folder with the best score at the best point, whose model is also in
    `workdir/model`. {} in any process but the first.

    Raises:
        UserError: `workdir` is an address. Stopped: asked to stop, the state is saved.
    """
    if is_address(workdir):
        raise UserError(
            f"--workdir={workdir}: several runs at once need a folder of this machine; start them one by one"
        )
    workdir = Path(workdir)
    if (workdir / "config.json").exists():
        raise UserError(f"{workdir}: the folder of a single run; several need another --workdir")
    results = {repeat: tune(changed(config, repeat), workdir / repeat.name) for repeat in wanted}
    return on_first(lambda: _finish(results, workdir)) or {}


def _finish(results: dict[Repeat, dict[str, Any]], workdir: Path) -> dict[str, Any]:
    points: dict[Point, list[Repeat]] = {}
    for repeat in results:
        points.setdefault(repeat.point, []).append(repeat)
    made = [_summary(point, [results[repeat] for repeat in own]) for point, own in points.items()]
    order = sorted(range(len(made)), key=lambda index: -made[index]["mean"])
    best = max(list(points.values())[order[0]], key=lambda repeat: score_of(results[repeat]))
    report = {
        "task": results[best]["task"],
        "seeds": sorted({repeat.seed for repeat in results}),
        "points": [made[index] for index in order],
        "best": best.name,
        "baselines": results[best]["baselines"],
    }
    with atomic_folder(workdir / "model") as folder:
        shutil.copytree(workdir / best.name / "model", folder, dirs_exist_ok=True)
    write_json(workdir / "results.json", report)
    return report


def score_of(results: Mapping[str, Any]) -> float:
    """What decides: the mean of a labelled task's figures, or F1."""
    return results["score"] if "score" in results else results["student"]["f1"]


def _summary(point: Point, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    figures = [_figures(own["student"]) for own in results]
    spread = {name: _spread([own[name] for own in figures]) for name in figures[0]}
    return {"settings": dict(point), **_spread([score_of(own) for own in results]), "student": spread}


def _figures(scores: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of nested scores, by joined names."""
    found = {}
    for name, value in scores.items():
        found |= _figures(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def _spread(values: list[float]) -> dict[str, Any]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"values": values, "mean": statistics.fmean(values), "deviation": deviation}
