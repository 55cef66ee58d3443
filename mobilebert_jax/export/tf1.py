"""Google's TensorFlow 1 checkpoints (`*.ckpt.index`, `*.ckpt.data-*`) as models; needs the extra `tf1`."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import WITH_CLASSES, build_model
from mobilebert_jax.models.state_dict import StateDict, from_state_dict
from mobilebert_jax.models.tensor_files import TensorHeader, some
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Params

TEACHER = "teacher/"
"""What the teacher's variables start with in a distillation checkpoint."""

SLOTS = re.compile(r"/(adam_[mv]|Adam(_1)?|lamb_[mv]|LAMB(_1)?|Momentum)$|(^|/)global_step$|^beta[12]_power$")
"""Optimizer slots and counters, which no model has."""

RULES = (
    (r"^bert/encoder/layer_(\d+)/", r"mobilebert.encoder.layer.\1."),
    (r"^bert/", "mobilebert."),
    (r"ffn_layer_(\d+)/", r"ffn.\1."),
    (r"(Fake)?LayerNorm/gamma$", "LayerNorm.weight"),
    (r"(Fake)?LayerNorm/beta$", "LayerNorm.bias"),
    (r"cls/predictions/extra_output_weights$", "cls.predictions.dense.weight"),
    (r"cls/squad/output_weights$", "qa_outputs.weight"),
    (r"cls/squad/output_bias$", "qa_outputs.bias"),
    (r"cls/predictions/output_bias$", "cls.predictions.bias"),
    (r"cls/seq_relationship/output_weights$", "cls.seq_relationship.weight"),
    (r"cls/seq_relationship/output_bias$", "cls.seq_relationship.bias"),
    (r"^output_weights$", "classifier.weight"),
    (r"^output_bias$", "classifier.bias"),
    (r"/kernel$", ".weight"),
    (r"(_embeddings)$", r"\1.weight"),
)
"""Variable name to transformers' name, every rule in turn (google-research `mobilebert/modeling.py` names the left)."""

TRANSPOSED = re.compile(r"(/kernel|/extra_output_weights)$")

TF1_DEFAULTS = {
    "type_vocab_size": 16,
    "num_feedforward_networks": 1,
    "normalization_type": "layer_norm",
    "classifier_activation": True,
    "trigram_input": False,
    "use_bottleneck": False,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": False,
    "attention_probs_dropout_prob": 0.1,
    "hidden_dropout_prob": 0.1,
}
"""What the original's config class takes for missing fields; missing widths are `hidden_size`. Its gelu is tanh's."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's variables: shapes at once, values when read."""

    prefix: Path
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]


def find_prefix(source: str | Path) -> Path | None:
    """The checkpoint's prefix (`.../mobilebert.ckpt`), given as such, as its .index, or as the one in a folder."""
    source = Path(source)
    if source.suffix == ".index" and source.is_file():
        return source.with_suffix("")
    if Path(f"{source}.index").is_file():
        return source
    found = sorted(source.glob("*.index")) if source.is_dir() else []
    return found[0].with_suffix("") if len(found) == 1 else None


def open_checkpoint(prefix: Path) -> Checkpoint:
    """Through TensorFlow, imported here. UserError when it is not installed or cannot read the files."""
    try:
        import tensorflow as tf
    except ImportError:
        raise UserError(f"{prefix}: reading it needs TensorFlow: pip install 'mobilebert-jax[tf1]'") from None
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise UserError(f"{prefix}: not a readable TensorFlow checkpoint ({error})") from None

    def read(name: str) -> np.ndarray:
        try:
            return reader.get_tensor(name)
        except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
            raise UserError(f"{prefix}: {name} cannot be read ({error})") from None

    return Checkpoint(prefix, dict(sorted(shapes.items())), read)


def load_tf1(prefix: Path, config_file: str | Path = "", teacher: bool = False) -> tuple[nn.Module, Params, list[str]]:
    """The checkpoint's model with the head it has, its float32 parameters, and what was not there and is made up.

    `config_file`: the original's JSON config; without one, the only JSON beside the checkpoint that is such a config.
    `teacher` selects the `teacher/` variables of a distillation checkpoint, which are skipped otherwise; optimizer
    slots always are.

    Raises:
        UserError: no TensorFlow, unreadable files, no config, variables that do not fit it.
    """
    cfg = read_tf1_config(Path(config_file) if config_file else _config_beside(prefix))
    return model_of(open_checkpoint(prefix), cfg, teacher)


def model_of(checkpoint: Checkpoint, cfg: ModelConfig, teacher: bool = False) -> tuple[nn.Module, Params, list[str]]:
    """As `load_tf1`, of an open checkpoint."""
    state = tf1_state(checkpoint, teacher)
    head = _head(state)
    model = build_model(cfg, head, **_options(head, state))
    return model, *from_state_dict(model, state)


def tf1_state(checkpoint: Checkpoint, teacher: bool = False) -> StateDict:
    """The variables under transformers' names, kernels transposed as there.

    Raises:
        UserError: none of the wanted half, or variables that are neither a model's nor an optimizer's.
    """
    own = {}
    for name in checkpoint.shapes:
        if SLOTS.search(name) or name.startswith(TEACHER) != teacher:
            continue
        own[standard_tf1_name(name.removeprefix(TEACHER))] = name
    if not own:
        half = f"variables below {TEACHER}" if teacher else "model variables"
        raise UserError(f"{checkpoint.prefix}: holds no {half}")
    strange = [name for new, name in own.items() if "/" in new]
    if strange:
        raise UserError(f"{checkpoint.prefix}: {len(strange)} unknown variables: {some(strange)}")

    def read(name: str) -> np.ndarray:
        value = np.asarray(checkpoint.read(own[name]))
        return value.T if TRANSPOSED.search(own[name]) else value

    def header(name: str) -> TensorHeader:
        shape = checkpoint.shapes[name]
        return TensorHeader(shape[::-1] if TRANSPOSED.search(name) else shape, "float32")

    headers = {new: header(name) for new, name in own.items()}
    return StateDict("mobilebert", headers, read, str(checkpoint.prefix))


def standard_tf1_name(name: str) -> str:
    """'bert/encoder/layer_0/attention/self/query/kernel' as transformers names it."""
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name.replace("/", ".") if name.startswith(("mobilebert.", "cls/", "cls.")) else name


def read_tf1_config(path: Path) -> ModelConfig:
    """The original's `bert_config.json`.

    Raises:
        UserError: unreadable, or no config of these models.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        width = values["hidden_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "no model config in JSON (hidden_size is missing)"
        raise UserError(f"{path}: {reason}") from None
    fields = {field.name for field in dataclasses.fields(ModelConfig)}
    known: dict[str, Any] = {name: value for name, value in values.items() if name in fields}
    try:
        return ModelConfig(**{**TF1_DEFAULTS, "embedding_size": width, "intra_bottleneck_size": width, **known})
    except (UserError, TypeError) as error:
        raise UserError(f"{path}: {error}") from None


def _config_beside(prefix: Path) -> Path:
    candidates = []
    for path in sorted(prefix.parent.glob("*.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        candidates += [path] if isinstance(values, dict) and "hidden_size" in values else []
    if len(candidates) != 1:
        raise UserError(
            f"{prefix}: {len(candidates)} model configs (*.json with hidden_size) beside it; give --model_config=FILE"
        )
    return candidates[0]


def _head(state: StateDict) -> str | None:
    """The head whose variables are there."""
    signs = {"qa": "qa_outputs.weight", "classification": "classifier.weight", "pretraining": "cls.predictions.bias"}
    return next((head for head, name in signs.items() if name in state.headers), None)


def _options(head: str | None, state: StateDict) -> dict[str, int]:
    return {"num_labels": state.headers["classifier.weight"].shape[0]} if head in WITH_CLASSES else {}
