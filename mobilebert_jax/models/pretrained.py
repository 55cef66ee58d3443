"""Model folders in Hugging Face's layout: config.json, model.safetensors and, when given, the tokenizer's files."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.folder_config import CONFIG, family_of, folder_config, read_folder_config
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params, init_params
from mobilebert_jax.models.names import Stored, is_unused_tensor, standard_name, stored_as, tied_names
from mobilebert_jax.models.tensor_files import WEIGHTS, Tensors, has_weights, open_tensors, some, weight_files
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_folder, write_json
from mobilebert_jax.utils.trees import named_leaves
from mobilebert_jax.utils.types import Params

FLOATS = ("float32", "bfloat16", "float16")
"""Stored dtypes that float32 parameters hold exactly."""


def save_pretrained(path: str | Path, model: nn.Module, params: Params, tokenizer: Any = None) -> None:
    """Writes a folder that `from_pretrained` and transformers load; a model folder already there is replaced whole.

    `tokenizer` is anything with `save(folder)`. A plain BERT becomes a `bert` folder, everything else a `mobilebert`
    one. What transformers cannot express has the same layout and loads back here; config.json then says so in
    `transformers_differs` (see `folder_config`). `dtype`, `remat` and `scan_unroll` belong to a run and are not stored.

    Raises:
        UserError: `params` are not this model's, or `path` is something other than a model folder.
    """
    check_params(model, params)
    check_replaceable(path)
    with atomic_folder(path) as folder:
        write_json(folder / CONFIG, folder_config(model))
        safetensors.numpy.save_file(state_dict(model, params), folder / WEIGHTS, metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(folder)


def from_pretrained(path: str | Path, head: str | None = None) -> tuple[nn.Module, Params]:
    """The model with that head and its float32 parameters, from a folder of ours or of transformers (MobileBERT, BERT).

    head: None, 'pretraining', 'masked_lm', 'next_sentence', 'qa', 'classification' or 'token_classification'. The
    folder may hold another one: the encoder is loaded, what the wanted head (or the pooler) lacks is initialised from
    seed 0 and named in a warning. The number of classes and their names are the folder's.

    Raises:
        UserError: no such head; not a model folder, or one with nothing but a pickle; another model type; tensors that
            are missing, unexpected, of another shape, no floats or not finite, each listed by name.
    """
    path = Path(path)
    _check_folder(path)
    found = read_folder_config(path / CONFIG)
    model = build_model(found.cfg, head, **found.options(head))
    leaves = named_leaves(abstract_params(model))
    layout = {name: stored_as(name, leaf.shape, found.cfg, found.family) for name, leaf in leaves.items()}
    with open_tensors(path) as tensors:
        state = _StateDict.of(tensors, found.family, _source(path))
        required = (f"{found.family}.embeddings.", f"{found.family}.encoder.")
        present = {n: s for n, s in layout.items() if s.names[0] in state.stored or s.names[0].startswith(required)}
        _check_fit(present, state, found.cfg, found.family)
        params = {name: jnp.asarray(stored.join(state)) for name, stored in present.items()}
        _check_finite(params, present, state)
    absent = [name for name in layout if name not in present]
    if absent:
        warnings.warn(f"{state.source} lacks {', '.join(absent)}: initialised from seed 0", stacklevel=2)
        params |= _fresh(model, absent)
    return model, flax.traverse_util.unflatten_dict(params, sep="/")


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


@dataclasses.dataclass(frozen=True)
class _StateDict:
    """A folder's tensors under today's names: the family's prefix is always there, a tied tensor has one name."""

    tensors: Tensors
    stored: dict[str, str]  # today's name -> the file's
    source: Path

    @classmethod
    def of(cls, tensors: Tensors, family: str, source: Path) -> "_StateDict":
        stored = {standard_name(name, family): name for name in tensors.headers}
        for alias, name in tied_names(family).items():
            if alias not in stored:
                continue
            second = stored.pop(alias)
            first = stored.setdefault(name, second)
            if not np.array_equal(tensors.read(first), tensors.read(second)):
                raise UserError(f"{source}: {alias} differs from {name}; only tied tables can be loaded")
        return cls(tensors, stored, source)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors.headers[self.stored[name]].shape

    def dtype(self, name: str) -> str:
        return self.tensors.headers[self.stored[name]].dtype

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors.read(self.stored[name])


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


def _fresh(model: nn.Module, names: list[str]) -> Params:
    """Those parameters alone as `init_params` makes them; the others are compiled away."""

    def make():
        leaves = named_leaves(init_params(model, 0))
        return {name: leaves[name] for name in names}

    return jax.jit(make)()


def state_dict(model: nn.Module, params: Params) -> dict[str, np.ndarray]:
    """The model's parameters as transformers names and lays them out, float32; so too for gradients of their shapes."""
    family, tensors = family_of(model.cfg), {}
    for name, leaf in named_leaves(params).items():
        tensors |= stored_as(name, leaf.shape, model.cfg, family).split(np.asarray(leaf, np.float32))
    if isinstance(model, MobileBert):
        tensors = {name.removeprefix(f"{family}."): tensor for name, tensor in tensors.items()}
    return tensors


def _check_fit(layout: dict[str, Stored], state: _StateDict, cfg: ModelConfig, family: str) -> None:
    expected = {name: stored.shape for stored in layout.values() for name in stored.names}
    there = {name: shape for name, shape in expected.items() if name in state.stored}
    problems = {
        "missing": [name for name in expected if name not in there],
        "unexpected": [
            name
            for name in state.stored
            if name.startswith(f"{family}.") and name not in expected and not is_unused_tensor(name, cfg)
        ],
        "of the wrong shape": [
            f"{name} {state.shape(name)} instead of {shape}"
            for name, shape in there.items()
            if state.shape(name) != shape
        ],
        f"of a dtype other than {', '.join(FLOATS)}": [
            f"{name} {state.dtype(name)}" for name in there if state.dtype(name) not in FLOATS
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{len(names)} {what}: {some(names)}" for what, names in problems.items() if names)
        raise UserError(f"{state.source}: the tensors do not fit {CONFIG}: {found}")


def _check_finite(params: dict[str, Any], layout: dict[str, Stored], state: _StateDict) -> None:
    """UserError that names the stored tensors with a NaN or an infinity."""
    wrong = [name for name, leaf in params.items() if not np.isfinite(np.asarray(leaf)).all()]
    stored = [name for leaf in wrong for name in layout[leaf].names if not np.isfinite(state[name]).all()]
    if stored:
        raise UserError(f"{state.source}: {len(stored)} with values that are not finite: {some(stored)}")


def _may_be_replaced(path: Path) -> bool:
    """True for an empty folder and for a model folder of files alone: a run's folder also has a config.json."""
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    is_model = (path / CONFIG).is_file() and has_weights(path)
    return not entries or (is_model and all(entry.is_file() for entry in entries))
