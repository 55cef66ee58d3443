"""Question answering: a span head is fine-tuned on a model folder, predicts, is scored, compared with baselines."""

import contextlib
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mobilebert_jax.inference.predictor import Predict, make_predictor
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.models.pretrained import from_pretrained, save_pretrained
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.processes import first_says, on_first, whole
from mobilebert_jax.recipes.layouts import (
    check_layout,
    check_network,
    example_feed,
    layout_fields,
    made_in_place,
    make_layout,
)
from mobilebert_jax.recipes.place import Place, opened
from mobilebert_jax.recipes.programs import Planned, finetune_programs
from mobilebert_jax.recipes.questions import (
    answer_all,
    baselines,
    load_question_sets,
    model_scores,
    question_inputs,
)
from mobilebert_jax.recipes.settings import (
    at_run_time,
    check_length,
    check_phase,
    phase_seed,
    phase_settings,
)
from mobilebert_jax.recipes.watch import check_traced, time_spent
from mobilebert_jax.recipes.workdir import claim, file_input
from mobilebert_jax.tasks.label_features import LabelFeatures
from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_features import SquadFeatures
from mobilebert_jax.tasks.squad_predict import write_predictions
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.training.loop import run_phase
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.training.stopping import HasReason, Stopper, stop_if_asked
from mobilebert_jax.training.time_spent import TimeSpent
from mobilebert_jax.training.together import SharedStopper, agreed_reason, interruptible_together
from mobilebert_jax.training.trace import Traced
from mobilebert_jax.utils.errors import Stopped, UserError
from mobilebert_jax.utils.files import read_json, write_json
from mobilebert_jax.utils.types import Batch, Params

PREDICTION_SETTINGS = (
    "sequence_length doc_stride max_query_length max_answer_length n_best batch_size bucketing".split()
)

NEXT = "finetune comes next"
"""What a stop says that comes before the first step."""


def finetune_folder(
    config: ConfigDict,
    model_folder: str,
    task: str,
    workdir: str | Path,
    stopper: Stopper,
    source: Mapping[str, Any] | None = None,
    traced: Traced | None = None,
    since: float | None = None,
) -> dict[str, Any]:
    """Fine-tunes any model folder with a tokenizer on the config's questions, in a folder of its own.

    The finished model lies in `workdir/model`; the results are those of `finetune`. Started again, it continues.
    `source`: as in `claim`; `traced`, `since`: as in `run_recipe`.

    Raises:
        UserError: bad config, questions, model or workdir. Stopped: asked to stop, the state is saved.
    """

    def checked() -> dict[str, str]:
        if not config.finetune.questions:
            raise UserError(
                "no questions to train on: give --dataset=, a SQuAD json, hf:, tfds: or builtin:python-docs-qa"
            )
        check_phase(config, "finetune")
        load_question_sets(config.finetune, task)
        layout = make_layout(config)
        check_layout(config, layout, ["finetune"])
        check_network(layout, read_encoder(config, model_folder)[0], model_folder)
        return {"--model": file_input("--model", model_folder), "--task": task, **question_inputs(config.finetune)}

    since = time.monotonic() if since is None else since
    with SharedStopper(stopper) as stopper, contextlib.ExitStack() as held:
        if traced:
            check_traced(config, traced, ["finetune"])
        inputs = on_first(checked)
        place = held.enter_context(opened(workdir, stopper))
        on_first(lambda: claim(place.folder, config, inputs, source))
        spent = held.enter_context(time_spent(place.folder, since))
        return finetune(config, model_folder, task, place, stopper, make_layout(config), spent, traced)


def finetune(
    config: ConfigDict,
    model_folder: str | Path,
    task: str,
    place: Place,
    stopper: HasReason,
    layout: Layout | None = None,
    spent: TimeSpent | None = None,
    traced: Traced | None = None,
) -> dict[str, Any]:
    """The finetune phase in the run's folder `finetune`, from where it stopped; the model also in `model`.

    Returns what results.json holds: `questions` (their number), `task`, scores of the `student` and of `baselines`;
    {} in any process but the first. `spent`, `traced`: as in `run_phase`.
    """
    folder, spent = place.folder / "finetune", spent or TimeSpent()
    # Written last: with it, everything is there.
    if first_says((folder / "results.json").exists()):
        return on_first(lambda: read_json(folder / "results.json")) or {}
    cfg, encoder, tokenizer = read_encoder(config, model_folder)
    if reason := agreed_reason(stopper):
        raise Stopped(f"{reason}; {NEXT}")
    sets = interruptible_together(lambda: load_question_sets(config.finetune, task), stopper, NEXT)
    phase = interruptible_together(
        lambda: finetune_phase(config, cfg, encoder, tokenizer, sets.train, layout), stopper, NEXT
    )
    params = run_phase(phase, folder, stopper, spent, traced, place.checkpoints("finetune"), place.keep_soon)
    params = jax.tree.map(jnp.asarray, whole(params)) if layout else params
    with spent.spending("evaluate"):
        results = on_first(lambda: _score(config, cfg, params, tokenizer, sets.dev, task, place.folder, stopper))
    return results or {}


def _score(
    config: ConfigDict,
    cfg: ModelConfig,
    params: Params,
    tokenizer: Tokenizer,
    heldout: Sequence[Question],
    task: str,
    workdir: Path,
    stopper: HasReason,
) -> dict[str, Any]:
    """Writes the model, its predictions and results.json; returns the results."""
    folder = workdir / "finetune"
    for place in (folder / "model", workdir / "model"):
        save_pretrained(place, build_model(cfg, "qa"), params, tokenizer)
    predict = _interruptible(make_predictor(build_model(cfg, "qa"), params), stopper)
    settings = {name: config.finetune[name] for name in PREDICTION_SETTINGS}
    predictions = answer_all(predict, tokenizer, heldout, task, **settings)
    write_predictions(predictions, folder)
    scores = model_scores(heldout, predictions, task)
    results = {"questions": len(heldout), "task": task, "student": scores, "baselines": baselines(heldout, task)}
    write_json(folder / "results.json", results)
    return results


def _interruptible(predict: Predict, stopper: HasReason) -> Predict:
    """`predict` that ends with `Stopped` as soon as there is a reason."""

    def stoppable(batch: Batch):
        stop_if_asked(stopper, "finetune is trained, its answers are not scored yet")
        return predict(batch)

    return stoppable


def read_encoder(
    config: ConfigDict, model_folder: str | Path, pooler: bool = False
) -> tuple[ModelConfig, Params, Tokenizer]:
    """Config, encoder parameters and tokenizer of a folder; UserError when it does not fit itself or the config.

    A warning says when there is no `pooler`, if it is wanted: the span head does without.
    """
    with warnings.catch_warnings():
        if not pooler:
            warnings.simplefilter("ignore", UserWarning)
        model, params = from_pretrained(model_folder)
    tokenizer = load_tokenizer(model_folder)
    if tokenizer.vocab_size > model.cfg.vocab_size:
        raise UserError(
            f"{model_folder}: the tokenizer has {tokenizer.vocab_size} pieces, the model only {model.cfg.vocab_size}"
        )
    check_length(config, "finetune", model.cfg, str(model_folder))
    return at_run_time(config, "student", model.cfg), params, tokenizer


def finetune_phase(
    config: ConfigDict,
    cfg: ModelConfig,
    encoder: Params,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    layout: Layout | None = None,
) -> Phase:
    """A fresh span head on a pretrained encoder, everything learning at the task's rate."""
    settings, model = config.finetune, build_model(cfg, "qa")
    features = SquadFeatures.build(
        tokenizer,
        questions,
        settings.sequence_length,
        doc_stride=settings.doc_stride,
        max_query_length=settings.max_query_length,
        bucketing=settings.bucketing,
    )
    return encoder_phase(config, cfg, encoder, model, finetune_programs(config, cfg), features, layout)


def encoder_phase(
    config: ConfigDict,
    cfg: ModelConfig,
    encoder: Params,
    model: nn.Module,
    planned: Planned,
    features: SquadFeatures | LabelFeatures,
    layout: Layout | None,
) -> Phase:
    """The finetune phase of `model`: a fresh head on a pretrained encoder, everything learning at the task's rate."""
    settings, seed = config.finetune, phase_seed(config, "finetune")

    def make_batch(step: int, rows: slice | None) -> Batch:
        return features.batch(step, seed, settings.batch_size)  # all of them: what takes time is done

    plan, programs = planned
    # Under a layout every device takes its part from the host.
    encoder = encoder if layout is None else jax.device_get(encoder)
    return Phase(
        **phase_settings(config, "finetune", plan.steps),
        plan=plan,
        programs=programs,
        batches=example_feed(layout, settings.batch_size, make_batch),
        **layout_fields(layout, model),
        init=lambda: made_in_place(layout, model, lambda given: with_encoder(init_params(model, seed), given), encoder),
        networks={"student": (cfg, None)},
    )


def with_encoder(params: Params, encoder: Params) -> Params:
    """The task's parameters with a copy of a pretrained encoder."""
    taken = {part: encoder[part] for part in params["encoder"]}  # the span head's has no pooler
    return {**params, "encoder": jax.tree.map(jnp.copy, taken)}
