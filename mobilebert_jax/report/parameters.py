"""Parameter counts by part, from the headers of model folders: no tensor is read."""

import re
from collections import Counter
from pathlib import Path

from mobilebert_jax.models.tensor_files import tensor_headers, weight_files
from mobilebert_jax.report.markup import MISSING, Markup, note, table
from mobilebert_jax.report.run_folder import RunFolder
from mobilebert_jax.utils.errors import UserError

ENCODER_PARTS = ("embeddings", "bottlenecks", "attention", "feed-forward", "pooler")
HEADS = ("masked-LM head", "next-sentence head", "answer-span head")
# The first that is found in a tensor's name says where it belongs.
PART_OF = (
    (r"(^|\.)embeddings\.", "embeddings"),
    (r"\.bottleneck\.", "bottlenecks"),
    (r"\.attention\.", "attention"),
    (r"\.layer\.\d+\.(ffn|intermediate|output)\.", "feed-forward"),
    (r"(^|\.)pooler\.", "pooler"),
    (r"^cls\.predictions\.", "masked-LM head"),
    (r"^cls\.seq_relationship\.", "next-sentence head"),
    (r"^qa_outputs\.", "answer-span head"),
)


def count_parameters(folder: Path) -> Counter[str]:
    """Parameters of a model folder by part; UserError when its weights cannot be read."""
    counts: Counter[str] = Counter()
    for name, header in tensor_headers(folder).items():
        part = next((part for pattern, part in PART_OF if re.search(pattern, name)), "other")
        counts[part] += header.count
    return counts


def encoder_size(folder: Path) -> int | None:
    """Parameters of embeddings, blocks and pooler; None without a readable model folder."""
    try:
        counts = count_parameters(folder)
    except UserError:
        return None
    return sum(counts[part] for part in ENCODER_PARTS)


def parameter_table(run: RunFolder) -> Markup:
    """Teacher, student and the fine-tuned student side by side, part by part."""
    folders = {"teacher": run.teacher_model(), "student": run.student_model(), "fine-tuned": run.path / "model"}
    columns = {name: count_parameters(folder) for name, folder in folders.items() if folder.is_dir()}
    if not columns:
        return note("No phase has finished a model yet.")
    rows = []
    for part in (*ENCODER_PARTS, "encoder", *HEADS, "other"):
        counts = [sum(c[p] for p in ENCODER_PARTS) if part == "encoder" else c[part] for c in columns.values()]
        if any(counts):
            rows.append([part, *(f"{count:,}" if count else MISSING for count in counts)])
    sizes = [sum(file.stat().st_size for file in weight_files(folders[name])) / 1e6 for name in columns]
    rows.append(["file, MB", *(f"{size:,.1f}" for size in sizes)])
    marked = [index for index, row in enumerate(rows) if row[0] == "encoder"]
    return table(["", *columns], rows, marked)
