"""The question-answering phase: fine-tune a span head, predict, score, compare with baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mobilebert_jax.inference.predictor import make_predictor
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.recipes.data import batch_stream
from mobilebert_jax.recipes.plans import alone_plan
from mobilebert_jax.recipes.settings import cadence, learning_rate, optimizer_config, phase_seed
from mobilebert_jax.tasks.baselines import baseline_scores
from mobilebert_jax.tasks.squad_data import Question, parse_squad
from mobilebert_jax.tasks.squad_features import SquadFeatures
from mobilebert_jax.tasks.squad_predict import predict_questions, write_predictions
from mobilebert_jax.tasks.squad_scores import score_predictions
from mobilebert_jax.text.python_docs_qa import open_questions
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.training.alone import AloneProgram
from mobilebert_jax.training.loop import Phase
from mobilebert_jax.utils.files import write_json
from mobilebert_jax.utils.types import Params


def load_questions(spec: str) -> tuple[list[Question], list[Question]]:
    """(training, held-out) questions of a builtin set or a SQuAD json file."""
    parts = open_questions(spec)
    return parse_squad(parts["train"], spec), parse_squad(parts["heldout"], spec)


def finetune_phase(
    config: ConfigDict, cfg: ModelConfig, encoder: Params, tokenizer: Tokenizer, questions: Sequence[Question]
) -> Phase:
    """A fresh span head on a pretrained encoder, everything learning at the task's rate."""
    settings, seed = config.finetune, phase_seed(config, "finetune")
    model = build_model(cfg, "qa")
    features = SquadFeatures.build(
        tokenizer,
        questions,
        settings.sequence_length,
        doc_stride=settings.doc_stride,
        max_query_length=settings.max_query_length,
    )
    plan = alone_plan("questions", settings.steps, cfg.num_hidden_layers, {"span": 1.0})
    return Phase(
        name="finetune",
        plan=plan,
        programs=(AloneProgram(model, {"span": 1.0}),),
        optimizer=optimizer_config(settings),
        learning_rate=learning_rate(settings, plan.steps),
        cadence=cadence(settings),
        batches=batch_stream(lambda step: features.batch(step, seed, settings.batch_size)),
        init=lambda: with_encoder(init_params(model, seed), encoder),
        networks={"student": (cfg, None)},
        accumulation=settings.accumulation,
        seed=seed,
    )


def with_encoder(params: Params, encoder: Params) -> Params:
    """The task's parameters with a copy of a pretrained encoder."""
    return {**params, "encoder": jax.tree.map(lambda leaf: leaf.copy(), encoder)}


def evaluate_questions(
    settings: ConfigDict,
    cfg: ModelConfig,
    params: Params,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    folder: Path,
) -> dict[str, Any]:
    """Predictions and scores on held-out questions, written to `folder`; returns what results.json holds."""
    predictions = predict_questions(
        make_predictor(build_model(cfg, "qa"), params),
        tokenizer,
        questions,
        sequence_length=settings.sequence_length,
        doc_stride=settings.doc_stride,
        max_query_length=settings.max_query_length,
        max_answer_length=settings.max_answer_length,
        n_best=settings.n_best,
        batch_size=settings.batch_size,
    )
    write_predictions(predictions, folder)
    results = {
        "questions": len(questions),
        "student": score_predictions(questions, predictions.texts),
        "baselines": baseline_scores(questions),
    }
    write_json(folder / "results.json", results)
    return results
