"""An export's files must score on a task as the model does: what `mobilebert export --task= --dataset=` adds."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mobilebert_jax.export.exported_folder import NAMES, load_exported
from mobilebert_jax.inference.folders import in_jax
from mobilebert_jax.models.folder_config import CONFIG, read_folder_config
from mobilebert_jax.recipes.exam import Asked, Said, agreement, head_of, make_exam
from mobilebert_jax.recipes.labels import LABEL_TASKS
from mobilebert_jax.recipes.questions import THRESHOLDS
from mobilebert_jax.utils.errors import UserError

INT8_LOSS = 5.0
"""Points that an int8 file may lose: one that loses more is broken; what 8 bits cost is for `evaluate` to say."""


def score_check(
    source: str | Path, format: str, precisions: tuple[str, ...], lengths: tuple[int, ...], asked: Asked
) -> Callable[[Path], dict[str, Any]]:
    """What `export_model` takes as `check`: precision -> the file's `score`, the `model`'s, `agreement` in percent.

    Both see the same examples, cut to what the longest file takes. A float32 file may differ in one example, an int8
    file lose `INT8_LOSS` points.

    Raises:
        UserError: a format that is not run here, no such examples, a model of another task; when called, a file that
            scores otherwise.
    """
    if asked.task not in (*THRESHOLDS, *LABEL_TASKS):
        raise UserError(f"--task={asked.task}: must be one of {', '.join((*THRESHOLDS, *LABEL_TASKS))}")
    if format not in NAMES:
        raise UserError(f"--task={asked.task}: scores are taken of {', '.join(NAMES)}, not of {format}")
    head = head_of(asked.task)
    cfg = read_folder_config(Path(source) / CONFIG).cfg
    usual = asked.sequence_length or (384 if asked.task in THRESHOLDS else 128)
    length = min(usual, max(lengths, default=cfg.max_position_embeddings), cfg.max_position_embeddings)
    exam = make_exam(source, dataclasses.replace(asked, sequence_length=length))
    run = in_jax(source, head, "float32")[1]
    wanted = tuple(each for each in precisions if each in NAMES[format])

    def check(folder: Path) -> dict[str, Any]:
        model, scores = exam(run), {}
        for precision in wanted:
            said = exam(load_exported(folder, head, precision)[1])
            _compare(f"{format} {precision}", precision, model, said)
            scores[precision] = {"score": said.score, "model": model.score, "agreement": agreement(model, said)}
        return {"task": asked.task, "examples": len(model.answers), "files": scores}

    return check


def _compare(name: str, precision: str, model: Said, said: Said) -> None:
    one = 100 / len(model.answers)
    agrees, lost = agreement(model, said), model.score - said.score
    if precision == "float32" and not agrees >= 100 - one - 1e-9:
        raise UserError(
            f"{name} was not written: {agrees:.1f}% of its answers are the model's, {100 - one:.1f}% are needed"
        )
    if not lost <= INT8_LOSS:
        raise UserError(
            f"{name} was not written: it scores {said.score:.2f}, the model {model.score:.2f}; {INT8_LOSS:g} points "
            "may be lost"
        )
