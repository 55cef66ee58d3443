"""The whole recipe so small that compiling takes nearly all of its time."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[2]
WORDS = (
    "the cat sat on a mat while dogs were running through green fields and birds sang loudly in tall trees near rivers "
    "that flow slowly towards distant seas where sailors mend nets under bright morning light"
).split()
SIZES = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "embedding_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": 48,
}
STEPS = {"teacher": 6, "transfer": 12, "distill": 8, "finetune": 8}
BOUNDARY = 6
"""The step of the transfer phase at which block 1 begins."""
PHASE = {"batch_size": 4, "sequence_length": 32, "log_every": 1, "evaluate_batches": 2, "save_every": 5}

XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def overrides(corpus: Path, questions: Path) -> list[str]:
    """What makes the default config tiny; dropout stays on where the reference has it."""
    settings = {
        "data.corpus": corpus,
        "data.vocab_size": 120,
        "data.heldout_fraction": 0.2,
        "finetune.questions": questions,
        "finetune.doc_stride": 8,
        "finetune.max_query_length": 10,
        "model.teacher.intra_bottleneck_size": 48,
        "model.teacher.hidden_dropout_prob": 0.1,
        "model.student.intra_bottleneck_size": 16,
    }
    settings |= {f"model.{which}.{name}": size for which in ("teacher", "student") for name, size in SIZES.items()}
    for phase, steps in STEPS.items():
        settings |= {f"{phase}.steps": steps, **{f"{phase}.{name}": value for name, value in PHASE.items()}}
        settings |= {f"{phase}.max_predictions": 5} if phase != "finetune" else {}
    return [f"--config.{name}={value}" for name, value in settings.items()]


@dataclasses.dataclass(frozen=True)
class TinyRun:
    """Commands on a small corpus and question set; compiled programs are shared through a cache."""

    folder: Path

    @property
    def words(self) -> list[str]:
        """The overrides every command with a config gets."""
        return overrides(self.folder / "corpus.txt", self.folder / "questions.json")

    def start(self, command: str, workdir: Path, *more: str, xla: str = XLA_FLAGS) -> subprocess.Popen:
        """`python -m mobilebert_jax command ...` as a process of its own."""
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "XLA_FLAGS": xla,
            "PYTHONPATH": str(PROJECT),
        }
        line = [sys.executable, "-m", "mobilebert_jax", command, f"--workdir={workdir}", *self.words, *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(line, cwd=self.folder, env=environment, **pipes)

    def finish(self, command: str, workdir: Path, *more: str) -> tuple[str, str]:
        """(stdout, stderr) of a command that must succeed."""
        process = self.start(command, workdir, *more)
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        return out, error

    def interrupt(self, when: Callable[[], bool], number: signal.Signals, workdir: Path, *more: str) -> tuple[int, str]:
        """(exit code, stderr) of a `run` that gets the signal as soon as `when()` is true."""
        process = self.start("run", workdir, *more)
        deadline = time.monotonic() + 300
        while not when() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        error = process.communicate(timeout=300)[1]
        return process.returncode, error


def make_tiny_run(folder: Path) -> TinyRun:
    """Writes corpus.txt (60 documents) and questions.json (24 passages, half of the questions without an answer)."""
    rng = np.random.default_rng(0)

    def sentence() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(3, 10))).capitalize() + "."

    documents = [" ".join(sentence() for _ in range(rng.integers(2, 6))) for _ in range(60)]
    (folder / "corpus.txt").write_text("\n\n".join(documents), encoding="utf-8")
    articles = [
        {"title": f"title {number}", "paragraphs": [{"context": text, "qas": questions_on(number, text)}]}
        for number, text in enumerate(documents[:24])
    ]
    (folder / "questions.json").write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")
    return TinyRun(folder)


def questions_on(number: int, passage: str) -> list[dict]:
    """One question whose answer is the first sentence, one without an answer."""
    first = {"text": passage.split(".")[0], "answer_start": 0}
    return [
        {"id": f"{number}-a", "question": "what was first?", "answers": [first], "is_impossible": False},
        {"id": f"{number}-b", "question": "who mends nets?", "answers": [], "is_impossible": True},
    ]
