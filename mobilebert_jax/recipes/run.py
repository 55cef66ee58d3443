"""Every phase in turn, each from where it stopped; finished models in Hugging Face layout."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.models.tensor_files import weights_sha256
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.processes import first_says, on_first, whole
from mobilebert_jax.recipes.data import (
    PreparedData,
    check_examples,
    corpus_of_run,
    estimate_data,
    open_data,
    prepare,
    prepare_share,
    text_inputs,
)
from mobilebert_jax.recipes.finetune import QUESTIONS
from mobilebert_jax.recipes.glue import check_glue
from mobilebert_jax.recipes.layouts import check_layout, check_network, make_layout, reader
from mobilebert_jax.recipes.lock import locked_share
from mobilebert_jax.recipes.phases import distill_phase, teacher_phase, transfer_phase
from mobilebert_jax.recipes.place import Place, folder_of, opened, prepared_alone
from mobilebert_jax.recipes.questions import load_question_sets, question_inputs
from mobilebert_jax.recipes.settings import (
    MODELS_OF,
    PHASES,
    active_phases,
    at_run_time,
    check_config,
    check_length,
    model_config,
    transfer_pair,
)
from mobilebert_jax.recipes.student import Teacher
from mobilebert_jax.recipes.teacher_start import check_start
from mobilebert_jax.recipes.tuning import tune
from mobilebert_jax.recipes.watch import check_traced, time_spent
from mobilebert_jax.recipes.work import recipe_work
from mobilebert_jax.recipes.workdir import claim, file_input, unchanged_if_refused
from mobilebert_jax.text.corpus import Corpus
from mobilebert_jax.text.estimate import Estimate
from mobilebert_jax.text.python_docs_qa import BUILTIN
from mobilebert_jax.text.shards import ALL, Share
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.training.loop import run_phase
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.stopping import HasReason, Stopper
from mobilebert_jax.training.time_spent import TimeSpent
from mobilebert_jax.training.together import SharedStopper, agreed_reason
from mobilebert_jax.training.trace import Traced
from mobilebert_jax.utils.errors import Stopped, UserError
from mobilebert_jax.utils.placement import TEACHER
from mobilebert_jax.utils.types import Params


def run_recipe(
    config: ConfigDict,
    workdir: str | Path,
    stopper: Stopper,
    phases: Sequence[str] = PHASES,
    source: Mapping[str, Any] | None = None,
    traced: Traced | None = None,
    since: float | None = None,
    make: "Callable[..., Recipe] | None" = None,
) -> dict[str, Any]:
    """Runs the named phases of the config in `workdir`, a folder or an address, continuing what is there.

    Leaves `<phase>/model/` after each phase, and `model/`, the finished student; a phase whose model is there is
    finished. Returns question-answering results, {} when that phase is not among them. `source`: as in `claim`.
    `traced`: steps that the profiler records. `since`: the `time.monotonic()` that the run's time counts from. `make`:
    what to take in place of `Recipe`.

    Raises:
        UserError: bad config, text or workdir. Stopped: asked to stop, the state is saved.
    """
    since, make = time.monotonic() if since is None else since, make or Recipe
    with SharedStopper(stopper) as stopper, contextlib.ExitStack() as held:
        if traced:
            check_traced(config, traced, phases)
        layout = on_first(lambda: _checked_layout(config, phases)) or make_layout(config)
        place = held.enter_context(opened(workdir, stopper))
        folder = place.folder
        spent = held.enter_context(time_spent(folder, since))

        def begin() -> PreparedData:
            with spent.spending("prepare"), unchanged_if_refused(folder):
                data = _prepared(config, folder, stopper, source)
                check_examples(config, data)
                if config.teacher.path:
                    make(config, place, data, stopper, phases, layout, spent).finished_teacher()
                elif config.teacher.start:
                    check_start(config, model_config(config, "teacher", data.tokenizer.vocab_size))
                return data

        data = on_first(begin)
        place.share()
        data = data or open_data(folder, load_tokenizer(folder / "data" / "tokenizer"))
        recipe = make(config, place, data, stopper, phases, layout, spent, traced)
        if "teacher" in phases:
            recipe.teacher()
        if "transfer" in phases or "distill" in phases:
            recipe.student()
        return recipe.finetune() if "finetune" in phases and config.finetune.questions else {}


def prepare_run(
    config: ConfigDict,
    workdir: str | Path,
    stopper: Stopper,
    source: Mapping[str, Any] | None = None,
    share: Share = ALL,
) -> PreparedData | None:
    """Checks everything that can be checked before training, claims the folder, prepares the text or a share of it.

    A store that was damaged is mended. Returns None while shards of other shares are missing.
    """
    _check(config)
    if share == ALL:
        with opened(workdir, stopper) as place, unchanged_if_refused(place.folder):
            corpus = _claimed(config, place.folder, source)
            return prepare_share(config, place.folder, stopper, corpus, share)
    prepared_alone(workdir, f"{share.index}/{share.of}")
    workdir = Path(workdir)
    with locked_share(workdir, share):
        corpus = _claimed(config, workdir, source)
        return prepare_share(config, workdir, stopper, corpus, share)


def estimate_run(config: ConfigDict, workdir: str | Path, stopper: Stopper) -> Estimate:
    """What preparing the text will need; nothing is written."""
    _check(config)
    return estimate_data(config, folder_of(workdir), stopper)


def _check(config: ConfigDict) -> None:
    """What can be checked before anything is written."""
    check_config(config)
    if config.finetune.questions not in ("", BUILTIN):  # which is not made for that
        load_question_sets(config.finetune, "squad2")
    check_glue(config)


def _checked_layout(config: ConfigDict, phases: Sequence[str]) -> Layout | None:
    """The layout, after all that can be checked before anything is written."""
    _check(config)
    layout = make_layout(config)
    check_layout(config, layout, [name for name in active_phases(config) if name in phases])
    return layout


def _prepared(config: ConfigDict, workdir: Path, stopper: Stopper, source: Mapping[str, Any] | None) -> PreparedData:
    return prepare(config, workdir, stopper, _claimed(config, workdir, source))


def _claimed(config: ConfigDict, workdir: Path, source: Mapping[str, Any] | None) -> Corpus | None:
    """The run's corpus, None with a store in its place, once the folder is this run's."""
    folders = {"teacher.path": config.teacher.path, "teacher.start": config.teacher.start}
    given = {name: file_input(name, path) for name, path in folders.items() if path}
    corpus = corpus_of_run(config, workdir)
    claim(workdir, config, given | question_inputs(config.finetune) | text_inputs(config, workdir, corpus), source)
    return corpus


class Recipe:
    """The phases as methods; what one leaves in its folder is the next one's input."""

    def __init__(
        self,
        config: ConfigDict,
        place: Place,
        data: PreparedData,
        stopper: HasReason,
        phases: Sequence[str],
        layout: Layout | None,
        spent: TimeSpent,
        traced: Traced | None = None,
    ):
        self.config, self.place, self.data, self.stopper, self.phases = config, place, data, stopper, phases
        self.workdir, self.layout, self.watched = place.folder, layout, (spent, traced)
        self.student_config = model_config(config, "student", data.tokenizer.vocab_size)

    def teacher(self) -> None:
        """Trains the teacher unless one was given."""
        if not self.config.teacher.path and not self._is_there(self._model("teacher")):
            phase = teacher_phase(self.config, self.data, self.layout)
            self._publish(self._model("teacher"), phase.networks["teacher"][0], self._train(phase))

    def student(self) -> None:
        """Knowledge transfer and pre-training distillation."""
        distilled = self._model("distill")
        if not self._is_there(distilled):
            teacher = self.finished_teacher()
            phase = distill_phase(self.config, self.data, teacher, self._transferred(teacher), self.layout)
            self._publish(distilled, self.student_config, self._train(phase))
        on_first(self._publish_student)

    def _publish_student(self) -> None:
        if not (self.workdir / "model").exists():
            _save(
                self.workdir / "model", self.student_config, read_model(self._model("distill"))[1], self.data.tokenizer
            )

    def finetune(self) -> dict[str, Any]:
        """Question answering on the distilled student, scored on held-out questions."""
        load = functools.partial(load_question_sets, self.config.finetune, "squad2")
        return tune(QUESTIONS, self.config, self._model("distill"), load, self.place, self.stopper, *self.watched)

    def _transferred(self, teacher: Teacher) -> Params | None:
        """The student after knowledge transfer; None where transfer is part of distillation or left out."""
        if "transfer" not in active_phases(self.config):
            return None
        if self._is_there(self._model("transfer")):
            return read_model(self._model("transfer"), reader(self.layout))[1]
        params = self._train(transfer_phase(self.config, self.data, teacher, self.layout))
        self._publish(self._model("transfer"), self.student_config, params)
        return params

    def finished_teacher(self) -> Teacher:
        """The teacher from its model folder, whoever made it."""
        path = Path(self.config.teacher.path or self._model("teacher"))
        if not path.exists():
            raise UserError(f"{path}: no teacher there; run `mobilebert pretrain` first or set config.teacher.path")
        cfg, params = read_model(path, reader(self.layout, TEACHER))
        if cfg.vocab_size != self.data.tokenizer.vocab_size:
            raise UserError(
                f"{path}: the teacher has {cfg.vocab_size} words, the tokenizer in {self.workdir}/data has "
                f"{self.data.tokenizer.vocab_size}; give the teacher's own with config.data.tokenizer"
            )
        for phase in active_phases(self.config):
            if "teacher" in MODELS_OF[phase]:
                check_length(self.config, phase, cfg, str(path))
        check_network(self.layout, cfg, str(path))
        if self.config.transfer.strategy != "none":
            transfer_pair(self.config, cfg, self.student_config)
        source = {"path": str(path), "fingerprint": weights_sha256(path)}
        return Teacher(at_run_time(self.config, "teacher", cfg), params, source)

    def _is_there(self, folder: Path) -> bool:
        """As the first process sees it: another one's view of a file system may lag behind."""
        return first_says(folder.exists())

    def _model(self, phase: str) -> Path:
        """Where a phase leaves its model once it is finished."""
        return self.workdir / phase / "model"

    def _train(self, phase: Phase) -> Params:
        """The phase from where it stopped, told how much work it is and how much comes after it."""
        work = recipe_work(self.config, self.phases, phase.networks["teacher"][0], self.student_config)
        names = list(work)
        later = sum(steps * each for name in names[names.index(phase.name) + 1 :] for steps, each in work[name])
        if not phase.students:  # of several, how much is shared is not known
            phase = dataclasses.replace(phase, work=tuple(each for _, each in work[phase.name]), later=later)
        if reason := agreed_reason(self.stopper):
            raise Stopped(f"{reason}; {phase.name} comes next")
        lasting = self.place.checkpoints(phase.name), self.place.keep_soon
        return run_phase(phase, self.workdir / phase.name, self.stopper, *self.watched, *lasting)

    def _publish(self, folder: Path, cfg: ModelConfig, params: Params) -> None:
        params = whole(params)
        on_first(lambda: _save(folder, cfg, params, self.data.tokenizer))
        self.place.share()


def _save(folder: Path, cfg: ModelConfig, params: Params, tokenizer: Tokenizer) -> None:
    save_pretrained(folder, build_model(cfg, "pretraining"), params, tokenizer)


def read_model(folder: Path, put: Callable[..., Any] | None = None) -> tuple[ModelConfig, Params]:
    """A pretrained model that a phase has left; `put`: see `from_pretrained`."""
    model, params = from_pretrained(folder, "pretraining", put)
    return model.cfg, params
