"""Every phase in turn, each from where it stopped; finished models in Hugging Face layout."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.recipes.data import PreparedData, prepare
from mobilebert_jax.recipes.phases import Teacher, distill_phase, initial_student, teacher_phase, transfer_phase
from mobilebert_jax.recipes.questions import evaluate_questions, finetune_phase, load_questions
from mobilebert_jax.recipes.settings import PHASES, check_config, model_config
from mobilebert_jax.recipes.workdir import claim
from mobilebert_jax.training.loop import Phase, run_phase
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import file_sha256
from mobilebert_jax.utils.types import Params


def run_recipe(
    config: ConfigDict, workdir: str | Path, stopper: Stopper, phases: Sequence[str] = PHASES
) -> dict[str, Any]:
    """Runs the named phases of the config in `workdir`, continuing what is there.

    Leaves `<phase>/model/` after each phase, and `model/`, the finished student. Returns question-answering results,
    {} when that phase is not among them.

    Raises:
        UserError: bad config, text or workdir. Stopped: asked to stop, the state is saved.
    """
    check_config(config)
    workdir = Path(workdir)
    claim(workdir, config)
    data = prepare(config, workdir)
    recipe = _Recipe(config, workdir, data, stopper)
    if "teacher" in phases:
        recipe.teacher()
    if "transfer" in phases or "distill" in phases:
        recipe.distill(recipe.transfer())
    return recipe.finetune() if "finetune" in phases and config.finetune.questions else {}


class _Recipe:
    """The phases as methods that hand parameters on."""

    def __init__(self, config: ConfigDict, workdir: Path, data: PreparedData, stopper: Stopper):
        self.config, self.workdir, self.data, self.stopper = config, workdir, data, stopper
        self.student = model_config(config, "student", data.tokenizer.vocab_size)

    def teacher(self) -> None:
        """Trains the teacher unless one was given; its folder is the later phases' input."""
        if not self.config.teacher.path:
            self._train(teacher_phase(self.config, self.data), "teacher")

    def _finished_teacher(self) -> Teacher:
        """The teacher from its model folder, whoever made it."""
        path = Path(self.config.teacher.path or self.workdir / "teacher" / "model")
        if not path.exists():
            raise UserError(f"{path}: no teacher there; run `mobilebert pretrain` first or set config.teacher.path")
        model, params = from_pretrained(path, head="pretraining")
        if model.cfg.vocab_size != self.data.tokenizer.vocab_size:
            raise UserError(
                f"{path}: the teacher has {model.cfg.vocab_size} words, the tokenizer in {self.workdir}/data has "
                f"{self.data.tokenizer.vocab_size}; give the teacher's own with config.data.tokenizer"
            )
        cfg = model.cfg.replace(dtype=self.config.model.teacher.dtype)
        return Teacher(cfg, params, {"path": str(path), "fingerprint": file_sha256(path / "model.safetensors")})

    def transfer(self) -> tuple[Teacher, Params]:
        """(the teacher, the student after knowledge transfer)."""
        teacher = self._finished_teacher()
        if self.config.transfer.strategy in ("progressive", "joint") and self.config.transfer.steps:
            return teacher, self._train(transfer_phase(self.config, self.data, teacher), "student")
        return teacher, initial_student(self.config, self.student, teacher)

    def distill(self, transferred: tuple[Teacher, Params]) -> None:
        """Pre-training distillation."""
        teacher, student = transferred
        phase = distill_phase(self.config, self.data, teacher, student)
        save_pretrained(
            self.workdir / "model",
            build_model(self.student, "pretraining"),
            self._train(phase, "student"),
            self.data.tokenizer,
        )

    def finetune(self) -> dict[str, Any]:
        """Question answering on the distilled student, scored on held-out questions."""
        model, params = from_pretrained(self.workdir / "distill" / "model", head="pretraining")
        cfg = model.cfg.replace(dtype=self.config.model.student.dtype, remat=self.config.model.student.remat)
        train, heldout = load_questions(self.config.finetune.questions)
        phase = finetune_phase(self.config, cfg, params["encoder"], self.data.tokenizer, train)
        tuned = run_phase(phase, self.workdir / "finetune", self.stopper)
        results = evaluate_questions(
            self.config.finetune, cfg, tuned, self.data.tokenizer, heldout, self.workdir / "finetune"
        )
        for folder in (self.workdir / "finetune" / "model", self.workdir / "model"):
            save_pretrained(folder, build_model(cfg, "qa"), tuned, self.data.tokenizer)
        return results

    def _train(self, phase: Phase, which: str) -> Params:
        """Runs a pretraining phase and leaves its model folder."""
        folder = self.workdir / phase.name
        params = run_phase(phase, folder, self.stopper)
        cfg = phase.networks[which][0]
        save_pretrained(folder / "model", build_model(cfg, "pretraining"), params, self.data.tokenizer)
        return params


def say_results(results: dict[str, Any]) -> None:
    """The question-answering table on stdout."""
    rows = {"student": results["student"], **results["baselines"]}
    print(f"{results['questions']} held-out questions      exact     f1   f1 answerable")
    for name, scores in rows.items():
        print(f"  {name:<24} {scores['exact']:9.1f} {scores['f1']:6.1f} {scores['HasAns_f1']:15.1f}")
    sys.stdout.flush()
