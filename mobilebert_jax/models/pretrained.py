"""Model folders in Hugging Face's layout: config.json, model.safetensors and, when given, the tokenizer's files."""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
import safetensors.numpy

from mobilebert_jax.models.folder_config import CONFIG, folder_config, read_folder_config
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.state_dict import StateDict, from_state_dict, to_state_dict
from mobilebert_jax.models.tensor_files import WEIGHTS, has_weights, open_tensors, some, weight_files
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_folder, write_json
from mobilebert_jax.utils.trees import named_leaves
from mobilebert_jax.utils.types import Params


def save_pretrained(path: str | Path, model: nn.Module, params: Params, tokenizer: Any = None) -> None:
    """Writes a folder that `from_pretrained` and transformers load; a model folder already there is replaced whole.

    `tokenizer` is anything with `save(folder)`. A plain BERT becomes a `bert` folder, everything else a `mobilebert`
    one. What transformers cannot express has the same layout and loads back here; config.json then says so in
    `transformers_differs` (see `folder_config`). `RUN_TIME_FIELDS` belong to a run and are not stored.

    Raises:
        UserError: `params` are not this model's, or `path` is something other than a model folder.
    """
    check_params(model, params)
    check_replaceable(path)
    with atomic_folder(path) as folder:
        write_json(folder / CONFIG, folder_config(model))
        safetensors.numpy.save_file(to_state_dict(model, params), folder / WEIGHTS, metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(folder)


def from_pretrained(
    path: str | Path, head: str | None = None, put: Callable[[nn.Module, str, np.ndarray], Any] | None = None
) -> tuple[nn.Module, Params]:
    """The model with that head and its float32 parameters, from a folder of ours or of transformers (MobileBERT, BERT).

    head: None, 'pretraining', 'masked_lm', 'next_sentence', 'qa', 'classification' or 'token_classification'. The
    folder may hold another one: the encoder is loaded, what the wanted head (or the pooler) lacks is initialised from
    seed 0 and named in a warning. The number of classes and their names are the folder's. `put` takes a parameter of
    the model, by name, to where it shall lie; by default that is the default device.

    Raises:
        UserError: no such head; not a model folder, or one with nothing but a pickle; another model type; tensors that
            are missing, unexpected, of another shape, no floats or not finite, each listed by name.
    """
    path = Path(path)
    _check_folder(path)
    found = read_folder_config(path / CONFIG)
    model = build_model(found.cfg, head, **found.options(head))
    source = str(_source(path))
    with open_tensors(path) as tensors:
        places = {} if put is None else {"put": functools.partial(put, model)}
        params, absent = from_state_dict(model, StateDict.of_tensors(tensors, found.family, source), **places)
    if absent:
        warnings.warn(f"{source} lacks {', '.join(absent)}: initialised from seed 0", stacklevel=2)
    return model, params


def check_params(model: nn.Module, params: Params) -> None:
    """UserError unless `params` have exactly the names and shapes of the model's."""
    expected = {name: leaf.shape for name, leaf in named_leaves(abstract_params(model)).items()}
    given = {name: leaf.shape for name, leaf in named_leaves(params).items()}
    wrong = sorted(name for name in expected | given if expected.get(name) != given.get(name))
    if wrong:
        raise UserError(f"the parameters are not those of {type(model).__name__}: {some(wrong)}")


def check_replaceable(path: str | Path) -> None:
    """UserError unless nothing, an empty folder or a model folder of files alone lies at `path`."""
    path = Path(path)
    if path.exists() and not _may_be_replaced(path):
        raise UserError(f"{path}: exists and is not a plain model folder; give a new path")


def _check_folder(path: Path) -> None:
    if not has_weights(path) and not (path / CONFIG).is_file():
        raise UserError(f"{path}: not a model folder, {CONFIG} and {WEIGHTS} missing")
    weight_files(path)
    if not (path / CONFIG).is_file():
        raise UserError(f"{path}: not a model folder, {CONFIG} missing")


def _source(path: Path) -> Path:
    """What messages about tensors name."""
    files = weight_files(path)
    return files[0] if len(files) == 1 else path


def _may_be_replaced(path: Path) -> bool:
    """True for an empty folder and for a model folder of files alone: a run's folder also has a config.json."""
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    is_model = (path / CONFIG).is_file() and has_weights(path)
    return not entries or (is_model and all(entry.is_file() for entry in entries))
