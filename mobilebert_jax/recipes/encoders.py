"""What every fine-tuning begins with: a pretrained encoder from a model folder, and the phase that trains it on."""

import warnings
from pathlib import Path
from typing import Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.recipes.layouts import example_feed, layout_fields, made_in_place
from mobilebert_jax.recipes.programs import Planned
from mobilebert_jax.recipes.settings import at_run_time, check_length, phase_seed, phase_settings
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.training.phase import Phase
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch, Params


class Features(Protocol):
    """A task's training examples."""

    def batch(self, step: int, seed: int, batch_size: int) -> Batch:
        """The batch of a step: a function of `(seed, step)` alone."""


def read_encoder(
    config: ConfigDict, model_folder: str | Path, pooler: bool = False
) -> tuple[ModelConfig, Params, Tokenizer]:
    """Config, encoder parameters and tokenizer of a folder; UserError when it does not fit itself or the config.

    The activation is `finetune.hidden_act` where that is set. A warning says when there is no `pooler`, if it is
    wanted: the span head does without.
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
    cfg = at_run_time(config, "student", model.cfg)
    return cfg.replace(hidden_act=config.finetune.hidden_act or cfg.hidden_act), params, tokenizer


def encoder_phase(
    config: ConfigDict,
    cfg: ModelConfig,
    encoder: Params,
    model: nn.Module,
    planned: Planned,
    features: Features,
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
