"""GLUE as the end of a run: a model of each task from the finished student, each in a folder of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.recipes.finetune_labels import finetune_labels_folder
from mobilebert_jax.recipes.labels import load_label_sets
from mobilebert_jax.recipes.place import local_copy
from mobilebert_jax.recipes.settings import check_labels, check_phase
from mobilebert_jax.tasks.glue_tasks import TASKS
from mobilebert_jax.tasks.label_scores import glue_averages
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.addresses import below
from mobilebert_jax.utils.errors import UserError

FOLDER = "glue"
"""Of a run: `glue/<task>` is a run of its own."""


def task_settings(config: ConfigDict, task: str) -> dict[str, Any]:
    """What the task's preset in `config.glue` changes in `config.finetune`; evaluated and saved once an epoch."""
    batch_size, rate, epochs = config.glue[task]
    return {
        "batch_size": batch_size,
        "epochs": float(epochs),
        "sequence_length": config.glue.sequence_length,
        "evaluate_every": 0,
        "save_every": 0,
        # Whatever a run does with its questions.
        "select": "best",
        "bucketing": True,
        "dev": "",
        "optimizer": {**config.finetune.optimizer.to_dict(), "learning_rate": rate},
    }


def task_config(config: ConfigDict, task: str) -> ConfigDict:
    """The config of fine-tuning a run's student on a task."""
    config = config.copy_and_resolve_references()
    config.finetune.update(task_settings(config, task))
    config.finetune.update({"questions": "", "dataset": config.glue.dataset})
    return config


def check_glue(config: ConfigDict) -> None:
    """Reads every task's set, if the config wants any.

    Raises:
        UserError: a task that is none or has no training set, or whatever its files are refused for.
    """
    for task in config.glue.tasks if config.glue.dataset else ():
        if task not in TASKS or not TASKS[task].dev:
            trained = ", ".join(name for name, own in TASKS.items() if own.dev)
            raise UserError(f"glue.tasks: {task!r} is none that a model is trained on; there are {trained}")
        if len(config.glue[task]) != 3:
            raise UserError(f"glue.{task}={config.glue[task]}: (batch, learning rate, epochs) are needed")
        settings = task_config(config, task)
        check_phase(settings, "finetune")
        check_labels(settings)
        load_label_sets(settings.finetune, task)


def run_glue(
    config: ConfigDict, workdir: str | Path, stopper: Stopper, source: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Fine-tunes the distilled student of a run on every task of `config.glue`; task -> its results.

    Models lie in `workdir/glue/<task>/model`. What is finished is not done again. {} without `glue.dataset`.
    `workdir` may be an address, `source` as in `claim`.

    Raises:
        UserError: as `finetune_labels_folder`. Stopped: asked to stop, the state is saved.
    """
    if not config.glue.dataset:
        return {}
    model = local_copy(str(below(workdir, "distill", "model")), "--workdir")
    return {
        task: finetune_labels_folder(
            task_config(config, task), model, task, below(workdir, FOLDER, task), stopper, source
        )
        for task in config.glue.tasks
    }


def averages(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The leaderboard's averages of what `run_glue` returned."""
    return glue_averages({task: own["student"] for task, own in results.items()})
