"""The three pretraining phases: teacher, transfer, distill."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.recipes.data import PreparedData, pretraining_examples
from mobilebert_jax.recipes.heldout import pretraining_evaluation, transfer_evaluation
from mobilebert_jax.recipes.layouts import example_feed, layout_fields, made_in_place, reader
from mobilebert_jax.recipes.programs import distill_programs, teacher_programs, transfer_programs
from mobilebert_jax.recipes.settings import model_config, phase_seed, phase_settings
from mobilebert_jax.recipes.student import Teacher, initial_student
from mobilebert_jax.recipes.teacher_start import extended
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.utils.types import Batch, Params


def teacher_phase(config: ConfigDict, data: PreparedData, layout: Layout | None = None) -> Phase:
    """Masked LM and next sentence from scratch."""
    cfg = model_config(config, "teacher", data.tokenizer.vocab_size)
    model = build_model(cfg, "pretraining")
    settings = config.teacher
    plan, programs = teacher_programs(config, cfg)
    train, heldout = _examples(config, "teacher", data)
    return Phase(
        **phase_settings(config, "teacher", plan.steps),
        plan=plan,
        programs=programs,
        **layout_fields(layout, model),
        batches=example_feed(layout, settings.batch_size, train.batch),
        init=_teacher_of(config, model, layout),
        networks={"teacher": (cfg, None)},
        evaluate=pretraining_evaluation(model, heldout.batch, settings.evaluate_batches, layout),
    )


def transfer_phase(config: ConfigDict, data: PreparedData, teacher: Teacher, layout: Layout | None = None) -> Phase:
    """Block by block, or all blocks at once, from the teacher's hidden states and attention."""
    settings, cfg = config.transfer, model_config(config, "student", data.tokenizer.vocab_size)
    plan, programs = transfer_programs(config, teacher.cfg, cfg)
    model = build_model(cfg, "pretraining")
    train, heldout = _examples(config, "transfer", data)
    return Phase(
        **phase_settings(config, "transfer", plan.steps, clip_frozen=settings.tf1_compat),
        plan=plan,
        programs=programs,
        **layout_fields(layout, model),
        batches=example_feed(layout, settings.batch_size, train.batch),
        init=_student_of(config, cfg, teacher, train.batch, layout),
        networks={"teacher": (teacher.cfg, teacher.params), "student": (cfg, None)},
        teacher=teacher.params,
        evaluate=transfer_evaluation(
            programs[0].transfer, teacher.params, heldout.batch, settings.evaluate_batches, layout
        ),
        meta={"teacher": teacher.source},
    )


def distill_phase(
    config: ConfigDict, data: PreparedData, teacher: Teacher, student: Params | None, layout: Layout | None = None
) -> Phase:
    """Masked LM with half of the target from the teacher's logits, next sentence; no dropout, as in the reference.

    `student` None: it starts here, since no transfer came before.
    """
    settings, cfg = config.distill, model_config(config, "student", data.tokenizer.vocab_size)
    model = build_model(cfg, "pretraining")
    plan, programs = distill_programs(config, teacher.cfg, cfg)
    train, heldout = _examples(config, "distill", data)
    return Phase(
        **phase_settings(config, "distill", plan.steps),
        plan=plan,
        programs=programs,
        **layout_fields(layout, model),
        batches=example_feed(layout, settings.batch_size, train.batch),
        init=_student_of(config, cfg, teacher, train.batch, layout) if student is None else lambda: student,
        networks={"teacher": (teacher.cfg, teacher.params), "student": (cfg, None)},
        teacher=teacher.params,
        evaluate=pretraining_evaluation(model, heldout.batch, settings.evaluate_batches, layout),
        meta={"teacher": teacher.source},
    )


def _teacher_of(config: ConfigDict, model: nn.Module, layout: Layout | None) -> Callable[[], Params]:
    """What makes the teacher that training begins with."""

    def fresh() -> Params:
        return init_params(model, phase_seed(config, "teacher"))

    if not config.teacher.start:
        return lambda: made_in_place(layout, model, fresh)

    def make(given: Params) -> Params:
        return extended(given, fresh())

    return lambda: made_in_place(
        layout, model, make, from_pretrained(config.teacher.start, "pretraining", reader(layout))[1]
    )


def _student_of(
    config: ConfigDict,
    cfg: ModelConfig,
    teacher: Teacher,
    make_batch: Callable[[int], Batch],
    layout: Layout | None,
) -> Callable[[], Params]:
    """What makes a fresh student of the teacher."""

    def make(params: Params) -> Params:
        return initial_student(config, cfg, dataclasses.replace(teacher, params=params), make_batch)

    return lambda: made_in_place(layout, build_model(cfg, "pretraining"), make, teacher.params)


def _examples(config: ConfigDict, phase: str, data: PreparedData):
    """(training, held-out) examples; held-out ones are the same for every phase of equal shape."""
    seed = phase_seed(config, phase)
    train = pretraining_examples(config, config[phase], data.train, data.tokenizer, seed)
    return train, pretraining_examples(config, config[phase], data.heldout, data.tokenizer, config.seed)
