"""`config.json` of a model folder: what transformers' fields mean here, and what ours mean there."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.heads import MODELS, WITH_CLASSES
from mobilebert_jax.models.names import FAMILIES
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import read_json

CONFIG = "config.json"

ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "gelu": "gelu_new", "gelu_erf": "gelu"}
"""Our activation to theirs: their `gelu` is the erf form, the tanh form is `gelu_new`."""

RUN_TIME_FIELDS = ("dtype", "remat", "scan_unroll", "attention_kernel")
"""Settings of a run, not of a model: never stored (`dtype` means something else there)."""

PLAIN_BERT = {
    "trigram_input": False,
    "use_bottleneck": False,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 1,
    "normalization_type": "layer_norm",
    "classifier_activation": True,
    "torch_norm_eps": False,
}
"""What model_type bert says without saying it; its widths are `hidden_size` throughout."""

DEFAULTS = {
    "mobilebert": {"classifier_activation": True},
    "bert": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
    },
}
"""transformers' defaults where they are not `ModelConfig`'s."""

JSON_TYPES = {int: (int,), float: (int, float), bool: (bool,), str: (str,)}


@dataclasses.dataclass(frozen=True)
class FolderConfig:
    """What a `config.json` says.

    Attributes:
        cfg: the model.
        family: mobilebert or bert.
        head: the head that `architectures` names; None for the bare encoder and for what is not known here.
        labels: one name a class; the number of classes is 2 where nothing says otherwise, as in transformers.
    """

    cfg: ModelConfig
    family: str
    head: str | None
    labels: tuple[str, ...]

    def options(self, head: str | None) -> dict[str, Any]:
        """What `build_model` needs for that head besides the config."""
        if head not in WITH_CLASSES:
            return {}
        return {"num_labels": len(self.labels), "label_names": _unless_default(self.labels)}


def read_folder_config(path: Path) -> FolderConfig:
    """The `config.json` at `path`; what it leaves out has transformers' default, what we do not know is ignored.

    Raises:
        UserError: unreadable, another model type, a value of another type, an unknown activation, a config that is no
            MobileBERT or BERT; the message starts with the path.
    """
    try:
        values = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; a model folder has its config there") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a JSON object is needed")
    cfg = config_of(values, str(path))
    return FolderConfig(cfg, values["model_type"], _head(values), _labels(values, path))


def folder_config(model: nn.Module) -> dict[str, Any]:
    """The fields of a model's `config.json`; those that are ours alone transformers ignores.

    `transformers_differs` lists why its classes would not compute the same, or could not load the folder at all;
    empty for most models. It is for people: reading a folder does not look at it.
    """
    cfg = model.cfg
    family = family_of(cfg)
    implied = ("embedding_size", "intra_bottleneck_size", *PLAIN_BERT) if family == "bert" else ()
    left_out = (*RUN_TIME_FIELDS, *implied)
    values = {name: value for name, value in cfg.to_dict().items() if name not in left_out}
    values |= {"model_type": family, "hidden_act": ACTIVATIONS[cfg.hidden_act]}
    values["transformers_differs"] = transformers_differs(cfg)
    name = "MobileBertModel" if isinstance(model, MobileBert) else type(model).__name__
    values["architectures"] = [name if family == "mobilebert" else name.replace("MobileBert", "Bert")]
    count = getattr(model, "num_labels", 0)
    labels = getattr(model, "label_names", ()) or _default_labels(count)
    if labels:
        values["id2label"] = {str(number): label for number, label in enumerate(labels)}
        values["label2id"] = {label: number for number, label in enumerate(labels)}
    return dict(sorted(values.items()))


def family_of(cfg: ModelConfig) -> str:
    """Whose classes in transformers are this model: bert for a plain BERT, mobilebert for all others."""
    widths = {cfg.embedding_size, cfg.intra_bottleneck_size, cfg.hidden_size}
    plain = all(getattr(cfg, name) == value for name, value in PLAIN_BERT.items())
    return "bert" if plain and len(widths) == 1 else "mobilebert"


def transformers_differs(cfg: ModelConfig) -> list[str]:
    """Why transformers' classes would not give this model's numbers: one sentence a reason, [] where they would."""
    reasons = []
    from_outside = cfg.use_bottleneck and not (cfg.shared_query_key or cfg.use_bottleneck_attention)
    if from_outside and cfg.inner_size != cfg.hidden_size:
        reasons.append(
            f"its query and key are {cfg.inner_size} wide on both sides, here they take {cfg.hidden_size}: "
            "it cannot load this folder"
        )
    if cfg.zero_pad_embeddings:
        reasons.append("zero_pad_embeddings: it lets the last token see the padding, where there is any")
    if family_of(cfg) == "mobilebert" and cfg.normalization_type == "layer_norm" and cfg.outer_norm_eps != 1e-5:
        reasons.append(
            f"layer_norm_eps={cfg.layer_norm_eps:g}: two of its LayerNorms, the embeddings' and that of a block's last "
            "FFN, use 1e-5 all the same (torch_norm_eps)"
        )
    return reasons


def config_of(values: dict[str, Any], source: str) -> ModelConfig:
    """The config that a `config.json`'s values mean; UserError as `read_folder_config`, naming `source`."""
    family = values.get("model_type")
    if family not in FAMILIES:
        raise UserError(f"{source}: model_type is {family!r}, only 'mobilebert' and 'bert' can be loaded")
    found = DEFAULTS[family] | _known_fields(values, source)
    if "hidden_act" in found:
        found["hidden_act"] = _our_activation(found["hidden_act"], source)
    width = found.get("hidden_size", ModelConfig.hidden_size)
    if family == "bert":
        _check_bert(values, source)
        found |= {**PLAIN_BERT, "embedding_size": width, "intra_bottleneck_size": width}
    elif not found.get("use_bottleneck", True):  # transformers ignores these then, our config does not allow them
        found |= {"intra_bottleneck_size": width, "use_bottleneck_attention": False}
        found["key_query_shared_bottleneck"] = False
    if family == "mobilebert" and found.get("normalization_type") == "layer_norm":
        found.setdefault("torch_norm_eps", True)
    try:
        return ModelConfig(**found)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _known_fields(values: dict[str, Any], source: str) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(ModelConfig):
        if field.name in RUN_TIME_FIELDS or field.name not in values:
            continue
        value = values[field.name]
        if type(value) not in JSON_TYPES[field.type]:
            raise UserError(f"{source}: {field.name}={value!r}, but {field.type.__name__} is needed")
        found[field.name] = field.type(value)
    return found


def _check_bert(values: dict[str, Any], source: str) -> None:
    positions = values.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise UserError(f"{source}: position_embedding_type={positions!r}, only 'absolute' can be loaded")
    for name in ("is_decoder", "add_cross_attention"):
        if values.get(name):
            raise UserError(f"{source}: {name}={values[name]!r}, only encoders can be loaded")


def _our_activation(name: str, source: str) -> str:
    ours = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu"}
    if name not in ours:
        raise UserError(f"{source}: hidden_act={name!r}, must be one of {', '.join(ours)}")
    return ours[name]


def _head(values: dict[str, Any]) -> str | None:
    named = values.get("architectures")
    name = str(named[0]) if isinstance(named, list) and named else ""
    name = name.replace("MobileBert", "Bert")
    return next((head for head, kind in MODELS.items() if kind.__name__.replace("MobileBert", "Bert") == name), None)


def _labels(values: dict[str, Any], path: Path) -> tuple[str, ...]:
    named = values.get("id2label")
    named = named if isinstance(named, dict) else {}
    count = values.get("num_labels", len(named) or 2)
    if type(count) is not int or count < 1:
        raise UserError(f"{path}: num_labels={count!r}, an int of at least 1 is needed")
    return tuple(str(named.get(str(number), f"LABEL_{number}")) for number in range(count))


def _default_labels(count: int) -> tuple[str, ...]:
    return tuple(f"LABEL_{number}" for number in range(count))


def _unless_default(labels: tuple[str, ...]) -> tuple[str, ...]:
    return () if labels == _default_labels(len(labels)) else labels
