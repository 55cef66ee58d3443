"""Question answering: a span head is fine-tuned on a model folder, predicts, is scored, compared with baselines."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.inference.predictor import span_forward
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.quantization.recipe import Samples
from mobilebert_jax.recipes.encoders import encoder_phase, read_encoder
from mobilebert_jax.recipes.layouts import make_layout
from mobilebert_jax.recipes.programs import as_quantized, finetune_programs
from mobilebert_jax.recipes.questions import (
    QuestionSets,
    answer_all,
    baselines,
    load_question_sets,
    model_scores,
    question_inputs,
    task_scores,
)
from mobilebert_jax.recipes.samples import EXAMPLES, of_questions
from mobilebert_jax.recipes.selection import SCORE
from mobilebert_jax.recipes.tuning import Kind, tune_folder
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_features import SquadFeatures
from mobilebert_jax.tasks.squad_predict import Predictions, write_predictions
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.stopping import HasReason, stop_if_asked
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, Batch, Params

PREDICTION_SETTINGS = (
    "sequence_length doc_stride max_query_length max_answer_length n_best batch_size bucketing".split()
)


def finetune_phase(
    config: ConfigDict,
    cfg: ModelConfig,
    encoder: Params,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    layout: Layout | None = None,
) -> Phase:
    """A fresh span head on a pretrained encoder, everything learning at the task's rate."""
    features = question_features(config, tokenizer, questions, config.finetune.bucketing)
    return encoder_phase(config, cfg, encoder, build_model(cfg, "qa"), finetune_programs(config, cfg), features, layout)


def question_features(
    config: ConfigDict, tokenizer: Tokenizer, questions: Sequence[Question], bucketing: bool
) -> SquadFeatures:
    """The windows that the config's lengths make of questions."""
    settings = config.finetune
    lengths = {"doc_stride": settings.doc_stride, "max_query_length": settings.max_query_length}
    return SquadFeatures.build(tokenizer, questions, settings.sequence_length, **lengths, bucketing=bucketing)


class _QuestionTask:
    """Answer spans; see `tuning.Task`."""

    def __init__(self, config: ConfigDict, sets: QuestionSets, model_folder: Path, stopper: HasReason):
        self.config, self.sets, self.stopper = config, sets, stopper
        self.cfg, self.encoder, self.tokenizer = read_encoder(config, model_folder)
        self.model = build_model(self.cfg, "qa")
        self.forward = span_forward(as_quantized(config, self.model))

    def phase(self) -> Phase:
        """The windows of all training questions."""
        layout = make_layout(self.config)
        return finetune_phase(self.config, self.cfg, self.encoder, self.tokenizer, self.sets.train, layout)

    def samples(self) -> Samples:
        """Windows of some of the training questions."""
        return of_questions(self.tokenizer, self.sets.train, self.config.finetune.sequence_length, EXAMPLES)

    def figures(self, params: Params) -> dict[str, float]:
        """exact, f1 and their parts in percent; F1 decides."""
        predictions = self._predictions(functools.partial(self.forward, params), progress=False)
        scores = task_scores(self.sets.dev, predictions.texts, self.sets.task)
        return {**{name: value for name, value in scores.items() if isinstance(value, float)}, SCORE: scores["f1"]}

    def finish(self, computing: Any, params: Params, folder: Path) -> dict[str, Any]:
        """`questions` (their number), `examples` by part, scores of the `student` and of `baselines`."""
        if computing is not self.model:
            self.forward = span_forward(computing)
        predictions = self._predictions(functools.partial(self._stoppable, params), progress=True)
        task, dev = self.sets.task, self.sets.dev
        write_predictions(predictions, folder, task)
        scores = model_scores(dev, predictions, task)
        return {
            "questions": len(dev),
            "examples": {"train": len(self.sets.train), "dev": len(dev)},
            SCORE: scores["f1"],
            "student": scores,
            "baselines": baselines(dev, task),
        }

    def _predictions(self, predict: Any, progress: bool) -> Predictions:
        settings = {name: self.config.finetune[name] for name in PREDICTION_SETTINGS}
        return answer_all(predict, self.tokenizer, self.sets.dev, self.sets.task, progress=progress, **settings)

    def _stoppable(self, params: Params, batch: Batch) -> tuple[Array, Array]:
        stop_if_asked(self.stopper, "finetune is trained, its answers are not scored yet")
        return self.forward(params, batch)


def _check(config: ConfigDict) -> None:
    if not config.finetune.questions:
        raise UserError("no questions to train on: give --dataset=, a SQuAD json, hf:, tfds: or builtin:python-docs-qa")


QUESTIONS = Kind(
    check=_check,
    load=lambda config, task: load_question_sets(config.finetune, task),
    inputs=lambda config, sets: question_inputs(config.finetune),
    make=_QuestionTask,
)
"""Tasks whose answers are spans of a passage."""

finetune_folder = functools.partial(tune_folder, QUESTIONS)
"""Fine-tunes any model folder with a tokenizer on the config's questions; see `tune_folder`."""
