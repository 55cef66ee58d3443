"""What GLUE's leaderboard takes: one file a test set, all in one zip."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilebert_jax.tasks.glue_tasks import TASKS, GlueTask
from mobilebert_jax.utils.files import atomic_path, write_text

FILES = tuple(name for task in TASKS.values() for name in task.submissions.values())
"""All that the leaderboard asks for: eleven."""

ARCHIVE = "submission.zip"


def write_submission(
    folder: str | Path, task: GlueTask, part: str, indices: Sequence[str], predictions: np.ndarray
) -> Path:
    """Writes a test set's file, `index<TAB>prediction` a line, and packs all such files of the folder; returns the zip.

    `predictions` [n]: class numbers, written by name, or numbers, written with three digits and within 0 and 5.
    """
    if task.labels:
        said = [task.labels[number] for number in predictions.tolist()]
    else:
        said = [f"{value:.3f}" for value in np.clip(predictions, 0.0, 5.0).tolist()]
    lines = ["index\tprediction", *(f"{index}\t{value}" for index, value in zip(indices, said, strict=True))]
    write_text(Path(folder) / task.submissions[part], "\n".join(lines) + "\n")
    return pack(folder)


def pack(folder: str | Path) -> Path:
    """`submission.zip` of the leaderboard's files that are in the folder; the same files give the same bytes."""
    folder = Path(folder)
    with atomic_path(folder / ARCHIVE) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FILES:
            if (folder / name).is_file():
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
                archive.writestr(entry, (folder / name).read_bytes())
    return folder / ARCHIVE


def missing(folder: str | Path) -> list[str]:
    """The leaderboard's files that are not in the folder yet."""
    return [name for name in FILES if not (Path(folder) / name).is_file()]
