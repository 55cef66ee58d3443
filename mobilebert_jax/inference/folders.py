"""What every class here asks of a model folder."""

from pathlib import Path
from typing import Any

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.text.tokenizer import Tokenizer, load_tokenizer
from mobilebert_jax.utils.errors import UserError


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
