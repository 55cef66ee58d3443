"""Model folders in, model folders out: what `mobilebert import` and `mobilebert export --format=hf` do."""

import warnings
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from mobilebert_jax.export.tf1 import load_tf1
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.folder_config import (
    CONFIG,
    family_of,
    folder_config,
    read_folder_config,
    transformers_differs,
)
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import check_replaceable, from_pretrained, save_pretrained
from mobilebert_jax.models.resize import resize_vocabulary
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.text.tokenizer_files import TokenizerFiles
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import count_parameters
from mobilebert_jax.utils.types import Params

SAMPLE = "The quick brown fox jumps over the lazy dog while nobody is looking."
STORED = "stored"
"""As a head: the one that the folder's config.json names."""


def import_folder(source: str | Path, output: str | Path, head: str | None = STORED, vocab_size: int = 0) -> dict:
    """A folder of transformers (or ours) as one of ours: float32, one file, today's names, its tokenizer's files.

    `head` as in `from_pretrained`, or 'stored'. `vocab_size`, if not 0, resizes the vocabulary's tables.

    Returns what `describe` says. Raises UserError as `from_pretrained` and `save_pretrained` do.
    """
    source = Path(source)
    check_replaceable(output)
    model, params = read_stored(source, head)
    if vocab_size:
        model, params = resize_vocabulary(model, params, vocab_size)
    files = TokenizerFiles(source)
    save_pretrained(output, model, params, files)
    return describe(model, params, files)


def export_folder(source: str | Path, output: str | Path, head: str | None = STORED) -> dict:
    """A model folder for transformers: what `import_folder` writes, with a warning where its numbers would differ.

    The warning says why, and how much the last hidden state of a padded sample changes under transformers' rules.
    """
    source = Path(source)
    check_replaceable(output)
    model, params = read_stored(source, head)
    warning = difference(model, params, source)
    if warning:
        warnings.warn(warning, stacklevel=2)
    files = TokenizerFiles(source)
    save_pretrained(output, model, params, files)
    return describe(model, params, files)


def import_tf1(
    prefix: str | Path, output: str | Path, config_file: str | Path = "", teacher: bool = False, vocab_size: int = 0
) -> dict:
    """A TensorFlow 1 checkpoint as a model folder; options and errors as in `tf1.load_tf1`.

    Tokenizer files that lie beside the checkpoint are carried along.
    """
    prefix = Path(prefix)
    check_replaceable(output)
    model, params, absent = load_tf1(prefix, config_file, teacher)
    if absent:
        warnings.warn(f"{prefix} lacks {', '.join(absent)}: initialised from seed 0", stacklevel=2)
    if vocab_size:
        model, params = resize_vocabulary(model, params, vocab_size)
    files = TokenizerFiles(prefix.parent)
    save_pretrained(output, model, params, files)
    return describe(model, params, files)


def describe(model: nn.Module, params: Params, files: TokenizerFiles) -> dict[str, Any]:
    """Architecture, number of parameters, vocabulary size and tokenizer files, as plain JSON values."""
    return {
        "architecture": folder_config(model)["architectures"][0],
        "parameters": count_parameters(params),
        "vocab_size": model.cfg.vocab_size,
        "tokenizer": files.names,
    }


def difference(model: nn.Module, params: Params, folder: Path) -> str:
    """Why transformers' numbers would differ, and by how much where it can load the model; empty if they would not."""
    reasons = transformers_differs(model.cfg)
    theirs = as_in_transformers(model.cfg)
    if not reasons:
        return ""
    if theirs is not None:
        measured = sample_difference(model.cfg, theirs, params, sample_batch(model.cfg, folder))
        reasons += [f"on a padded sample the last hidden state changes by {measured:.1e} of its largest value"]
    return f"transformers will differ: {'; '.join(reasons)}"


def as_in_transformers(cfg: ModelConfig) -> ModelConfig | None:
    """The config whose numbers transformers computes from this model's weights; None where it cannot load them."""
    theirs = cfg.replace(zero_pad_embeddings=False)
    if family_of(theirs) == "mobilebert" and cfg.normalization_type == "layer_norm":
        theirs = theirs.replace(torch_norm_eps=True)
    return None if transformers_differs(theirs) else theirs


def sample_batch(cfg: ModelConfig, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """input_ids and attention_mask [1, S] of a sentence in the folder's own tokens, half of it padding."""
    try:
        tokenizer = load_tokenizer(folder)
        ids = [tokenizer.cls_id, *tokenizer.encode_batch([SAMPLE])[0].ids, tokenizer.sep_id]
        pad = tokenizer.pad_id
    except UserError:  # without a tokenizer any words will do
        ids, pad = list(range(1, 21)), 0
    ids = [index % cfg.vocab_size for index in ids][: max(1, cfg.max_position_embeddings // 2)]
    padded = ids + [pad] * len(ids)
    return np.array([padded], np.int32), np.array([[1] * len(ids) + [0] * len(ids)], np.int32)


def sample_difference(
    ours: ModelConfig, theirs: ModelConfig, params: Params, batch: tuple[np.ndarray, np.ndarray]
) -> float:
    """Largest difference between both configs' last hidden states at the tokens, over the largest value of ours."""
    encoder = params.get("encoder", params)
    length = int(batch[1].sum())

    def last_hidden(cfg: ModelConfig) -> np.ndarray:
        model = build_model(cfg.replace(dtype="float32")).clone(pooling=False)
        out = jax.jit(lambda params: model.apply({"params": params}, *batch).last_hidden_state)(encoder)
        return np.asarray(out)[:, :length]

    mine, other = last_hidden(ours), last_hidden(theirs)
    return float(np.abs(mine - other).max() / np.abs(mine).max())


def read_stored(source: Path, head: str | None) -> tuple[nn.Module, Params]:
    """Like `from_pretrained`, with the folder's own head for 'stored'; what is made up is named in a warning."""
    if head == STORED and (source / CONFIG).is_file():
        head = read_folder_config(source / CONFIG).head
    return from_pretrained(source, None if head == STORED else head)
