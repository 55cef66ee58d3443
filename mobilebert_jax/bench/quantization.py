"""`bench quantization`: what int8 costs on a task, by every method, in JAX and in the files that ship."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mobilebert_jax.bench.choices import chosen
from mobilebert_jax.export.exported_folder import load_exported
from mobilebert_jax.export.formats import export_model
from mobilebert_jax.inference.folders import in_jax
from mobilebert_jax.quantization.recipe import METHODS, RECIPE, STATIC, read_recipe
from mobilebert_jax.recipes.calibration import Wanted
from mobilebert_jax.recipes.exam import Asked, Run, Said, agreement, head_of, make_exam
from mobilebert_jax.recipes.quantize import quantize_folder
from mobilebert_jax.recipes.questions import THRESHOLDS
from mobilebert_jax.utils.errors import UserError

RUNTIMES = ("jax", "onnx", "litert")
PTQ, QAT = "ptq", "qat"

Row = dict[str, Any]


def bench_quantization(
    model: str | Path,
    asked: Asked,
    calibration: str = "",
    qat: Sequence[str] = (),
    methods: Sequence[str] = (),
    runtimes: Sequence[str] = (),
    show: Callable[[Row], None] | None = None,
) -> dict[str, Any]:
    """`rows` of a model folder and of `qat`, folders fine-tuned with `finetune.quantize`, on the task's examples.

    A row: `kind` ("float32", "ptq", "qat"), `method`, `runtime`, `bytes` of the file (0 in JAX), `score` in percent and
    `lost` points, `agreement` in percent (see `exam.agreement`); the last two against float32 of the same folder, in
    JAX. `calibration`: of `static`, training examples of the task, by default those of `asked.dataset`.

    Raises:
        UserError: as `make_exam`, `quantize_folder` and `export_model`; a `qat` folder without a recipe.
    """
    methods, runtimes = chosen(methods, METHODS, "--methods"), chosen(runtimes, RUNTIMES, "--runtimes")
    for folder in qat:
        if not (Path(folder) / RECIPE).is_file():
            raise UserError(f"--qat={folder}: no recipe in it; `finetune --config.finetune.quantize=static` writes one")
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        if show:
            show(row)

    with tempfile.TemporaryDirectory() as scratch:
        measured = _Measured(asked, runtimes, Path(scratch))
        folders = [(PTQ, method, _quantized(model, method, asked, calibration, Path(scratch))) for method in methods]
        for row in measured.rows(Path(model), folders):
            add(row)
        for folder in qat:
            for row in measured.rows(Path(folder), [(QAT, read_recipe(folder).method, Path(folder))]):
                add(row)
    return {"task": asked.task, "model": str(model), "rows": rows}


def _quantized(model: str | Path, method: str, asked: Asked, calibration: str, scratch: Path) -> Path:
    wanted = Wanted(sequence_length=asked.sequence_length, columns=asked.columns, bad_rows=asked.bad_rows)
    given = (calibration or asked.dataset) if method == STATIC else ""
    quantize_folder(model, scratch / method, method, given, asked.task, wanted)
    return scratch / method


class _Measured:
    """Folders on one task, in the runtimes that are wanted."""

    def __init__(self, asked: Asked, runtimes: Sequence[str], scratch: Path):
        self.asked, self.runtimes, self.scratch, self.count = asked, runtimes, scratch, 0
        self.head = head_of(asked.task)

    def rows(self, source: Path, folders: Sequence[tuple[str, str, Path]]) -> Iterator[Row]:
        """float32 of `source`, then int8 of `folders`: (kind, method, folder), all compared with the first."""
        exam = make_exam(source, self.asked)
        plain = exam(in_jax(source, self.head, "float32")[1])
        yield _row("float32", "", "jax", 0, plain, plain)
        for kind, method, folder in folders:
            for runtime in self.runtimes:
                size, run = self._int8(folder, runtime)
                yield _row(kind, method, runtime, size, plain, exam(run))

    def _int8(self, folder: Path, runtime: str) -> tuple[int, Run]:
        """Bytes of the file and what runs it."""
        if runtime == "jax":
            return 0, in_jax(folder, self.head, "int8")[1]
        self.count += 1
        output, usual = self.scratch / f"export-{self.count}", 384 if self.asked.task in THRESHOLDS else 128
        positions = in_jax(folder, self.head, "float32")[0].max_position_embeddings
        lengths = (self.asked.sequence_length or min(usual, positions),)
        report = export_model(folder, output, runtime, precisions=("int8",), lengths=lengths)
        return sum(file["bytes"] for file in report["files"].values()), load_exported(output, self.head, "int8")[1]


def _row(kind: str, method: str, runtime: str, size: int, plain: Said, said: Said) -> Row:
    figures = {"score": said.score, "lost": plain.score - said.score, "agreement": agreement(plain, said)}
    return {"kind": kind, "method": method, "runtime": runtime, "bytes": size, **figures}


def print_head(task: str) -> None:
    """Above the rows."""
    print(f"{task:<34}{'MB':>8}{'score':>10}{'lost':>10}{'agrees':>12}")


def print_row(row: Row) -> None:
    """One line."""
    name = " ".join(filter(None, (row["kind"], row["method"], row["runtime"])))
    size = f"{row['bytes'] / 1e6:.1f}" if row["bytes"] else ""
    print(f"  {name:<32}{size:>8}{row['score']:>10.2f}{row['lost']:>10.2f}{row['agreement']:>11.2f}%", flush=True)
