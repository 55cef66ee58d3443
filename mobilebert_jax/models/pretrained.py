"""Model folders in Hugging Face's layout: config.json, model.safetensors and, when given, the tokenizer's files."""

import warnings
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params, init_params
from mobilebert_jax.models.names import (
    ENCODER,
    TIED,
    Stored,
    config_from_hugging_face,
    config_to_hugging_face,
    is_unused_tensor,
    stored_as,
)
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import atomic_folder, read_json, write_json
from mobilebert_jax.utils.trees import named_leaves
from mobilebert_jax.utils.types import Params

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SHOWN = 4
"""How many names an error lists before it only counts."""


def save_pretrained(path: str | Path, model: nn.Module, params: Params, tokenizer: Any = None) -> None:
    """Writes a folder that `from_pretrained` and transformers load; a model folder already there is replaced whole.

    `tokenizer` is anything with `save(folder)`. What transformers cannot express has the same layout and loads back
    here: the teacher's queries and keys, `zero_pad_embeddings`, and the `layer_norm_eps` of two norms that it builds
    with 1e-5 whatever the config says. `dtype`, `remat` and `scan_unroll` belong to a run and are not stored.

    Raises:
        UserError: `params` are not this model's, or `path` is something other than a model folder.
    """
    _check_params(model, params)
    if Path(path).exists() and not _may_be_replaced(Path(path)):
        raise UserError(f"{path}: exists and is not a plain model folder; give a new path")
    with atomic_folder(path) as folder:
        write_json(folder / CONFIG, _folder_config(model))
        tensors = _to_tensors(model, params)
        safetensors.numpy.save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(folder)


def from_pretrained(path: str | Path, head: str | None = None) -> tuple[nn.Module, Params]:
    """The model with that head (None, 'pretraining', 'qa', 'classification') and its float32 parameters.

    The folder may hold another head: the encoder is loaded, what the wanted head (or the pooler) lacks is
    initialised from seed 0 and named in a warning. The number of classes is the folder's.

    Raises:
        UserError: no such head, not a model folder, or tensors that do not fit its config.
    """
    path = Path(path)
    lacking = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    if lacking:
        raise UserError(f"{path}: not a model folder, {' and '.join(lacking)} missing")
    cfg, num_labels = _read_config(path / CONFIG)
    model = build_model(cfg, head, **({"num_labels": num_labels} if head == "classification" else {}))
    tensors = _read_tensors(path / WEIGHTS)
    leaves = named_leaves(abstract_params(model))
    layout = {name: stored_as(name, leaf.shape, cfg) for name, leaf in leaves.items()}
    present = {n: stored for n, stored in layout.items() if stored.names[0] in tensors or _is_required(stored)}
    absent = [name for name in layout if name not in present]
    _check_fit(present, tensors, cfg, path / WEIGHTS)
    params = {name: jnp.asarray(stored.join(tensors), jnp.float32) for name, stored in present.items()}
    if absent:
        warnings.warn(f"{path / WEIGHTS} lacks {', '.join(absent)}: initialised from seed 0", stacklevel=2)
        params |= _fresh(model, absent)
    return model, flax.traverse_util.unflatten_dict(params, sep="/")


def _fresh(model: nn.Module, names: list[str]) -> Params:
    """Those parameters alone as `init_params` makes them; the others are compiled away."""

    def make():
        leaves = named_leaves(init_params(model, 0))
        return {name: leaves[name] for name in names}

    return jax.jit(make)()


def _check_params(model: nn.Module, params: Params) -> None:
    expected = {name: leaf.shape for name, leaf in named_leaves(abstract_params(model)).items()}
    given = {name: leaf.shape for name, leaf in named_leaves(params).items()}
    wrong = sorted(name for name in expected | given if expected.get(name) != given.get(name))
    if wrong:
        raise UserError(f"the parameters are not those of {type(model).__name__}: {_some(wrong)}")


def _folder_config(model: nn.Module) -> dict[str, Any]:
    values = config_to_hugging_face(model.cfg)
    values["architectures"] = ["MobileBertModel" if isinstance(model, MobileBert) else type(model).__name__]
    labels = [f"LABEL_{number}" for number in range(getattr(model, "num_labels", 0))]
    if labels:
        values["id2label"] = {str(number): label for number, label in enumerate(labels)}
        values["label2id"] = {label: number for number, label in enumerate(labels)}
    return dict(sorted(values.items()))


def _read_config(path: Path) -> tuple[ModelConfig, int]:
    """The config and the number of classes, which transformers takes to be 2 where nothing says so."""
    try:
        values = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a JSON object is needed")
    labels = values.get("id2label")
    num_labels = values.get("num_labels", len(labels) if isinstance(labels, dict) else 2)
    if type(num_labels) is not int or num_labels < 1:
        raise UserError(f"{path}: num_labels={num_labels!r}, an int of at least 1 is needed")
    return config_from_hugging_face(values, str(path)), num_labels


def _to_tensors(model: nn.Module, params: Params) -> dict[str, np.ndarray]:
    """The model's state dict, float32."""
    tensors = {}
    for name, leaf in named_leaves(params).items():
        tensors |= stored_as(name, leaf.shape, model.cfg).split(np.asarray(leaf, np.float32))
    if isinstance(model, MobileBert):
        tensors = {name.removeprefix(ENCODER): tensor for name, tensor in tensors.items()}
    return tensors


def _is_required(stored: Stored) -> bool:
    """True for embeddings and blocks; a pooler or head that a folder lacks is initialised."""
    return stored.names[0].startswith((ENCODER + "embeddings.", ENCODER + "encoder."))


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The state dict with `mobilebert.` before every encoder tensor and each tied tensor under one name."""
    try:
        stored = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    tensors = {}
    for name, tensor in stored.items():
        headless = name.startswith(("embeddings.", "encoder.", "pooler."))
        tensors[ENCODER + name if headless else name] = tensor
    for alias, name in TIED.items():
        if alias in tensors:
            tensor = tensors.pop(alias)
            if not np.array_equal(tensors.setdefault(name, tensor), tensor):
                raise UserError(f"{path}: {alias} differs from {name}; only tied tables can be loaded")
    return tensors


def _check_fit(layout: dict[str, Stored], tensors: dict[str, np.ndarray], cfg: ModelConfig, source: Path) -> None:
    expected = {name: stored.shape for stored in layout.values() for name in stored.names}
    problems = {
        "missing": [n for n in expected if n not in tensors],
        "unexpected": [n for n in tensors if n.startswith(ENCODER) and n not in expected],
        "of the wrong shape": [
            f"{n} {tensors[n].shape} instead of {shape}"
            for n, shape in expected.items()
            if n in tensors and tensors[n].shape != shape
        ],
    }
    problems["unexpected"] = [name for name in problems["unexpected"] if not is_unused_tensor(name, cfg)]
    if any(problems.values()):
        found = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in problems.items() if names)
        raise UserError(f"{source}: the tensors do not fit {CONFIG}: {found}")


def _some(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _may_be_replaced(path: Path) -> bool:
    """True for an empty folder and for a model folder of files alone: a run's folder also has a config.json."""
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    is_model = all((path / name).is_file() for name in (CONFIG, WEIGHTS))
    return not entries or (is_model and all(entry.is_file() for entry in entries))
