"""What every class here asks of a model folder."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.pretrained import from_pretrained
from mobilebert_jax.quantization.precision import at_precision
from mobilebert_jax.quantization.recipe import read_recipe
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch, Params

Load = Callable[[str | Path, str, str], tuple[ModelConfig, Callable[[Batch], Any]]]
"""(folder, head, precision) -> the model's config, and what makes a batch into the head's outputs by their names."""


def in_jax(path: str | Path, head: str, precision: str) -> tuple[ModelConfig, Callable[[Batch], Any]]:
    """The `Load` of model folders; int8 is as the folder's recipe says, see `at_precision`."""
    model, params = from_pretrained(path, head=head)
    computing, params = at_precision(model, params, precision, read_recipe(path))

    @jax.jit
    def run(params: Params, batch: Batch) -> Any:
        inputs = batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]
        return computing.apply({"params": params}, *inputs).replace(encoder=None)

    return model.cfg, functools.partial(run, params)


def check_sizes(owner: Any, *names: str) -> None:
    """UserError names the first of these fields that is below 1."""
    for name in names:
        if getattr(owner, name) < 1:
            raise UserError(f"{name} is {getattr(owner, name)}; it must be at least 1")


def tokenizer_and_length(path: str | Path, cfg: ModelConfig, settings: dict[str, Any], longest: int) -> Tokenizer:
    """The folder's tokenizer; `settings` get a `sequence_length`, `longest` or what the model has, unless it is there.

    Raises:
        UserError: no tokenizer, or one with more pieces than the model, or too few positions.
    """
    tokenizer = load_tokenizer(path)
    positions, words = cfg.max_position_embeddings, cfg.vocab_size
    length = settings.setdefault("sequence_length", min(longest, positions))
    if length > positions:
        raise UserError(f"sequence_length {length}: the model in {path} has {positions} positions")
    if tokenizer.vocab_size > words:
        raise UserError(f"{path}: the tokenizer has {tokenizer.vocab_size} pieces, the model only {words}; they differ")
    return tokenizer
