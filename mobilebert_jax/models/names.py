"""Hugging Face's names for our parameters and config fields (transformers `models/mobilebert`, Apache-2.0 and MIT).

A state dict there has one tensor a layer, linear weights `[out, in]`, and every encoder tensor below `mobilebert.`.
"""

import dataclasses
import re
from typing import Any

import numpy as np

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import is_stacked

ENCODER = "mobilebert."
"""What the encoder's tensors start with in a model that has a head; the headless model leaves it out."""

LAYER = "mobilebert.encoder.layer.{layer}."

MODULES = {
    "embeddings/word_embeddings": "mobilebert.embeddings.word_embeddings",
    "embeddings/token_type_embeddings": "mobilebert.embeddings.token_type_embeddings",
    "embeddings/position_embeddings": "mobilebert.embeddings.position_embeddings",
    "embeddings/embedding_transformation": "mobilebert.embeddings.embedding_transformation",
    "embeddings/norm": "mobilebert.embeddings.LayerNorm",
    "layers/bottleneck_input/dense": LAYER + "bottleneck.input.dense",
    "layers/bottleneck_input/norm": LAYER + "bottleneck.input.LayerNorm",
    "layers/bottleneck_attention/dense": LAYER + "bottleneck.attention.dense",
    "layers/bottleneck_attention/norm": LAYER + "bottleneck.attention.LayerNorm",
    "layers/attention/query": LAYER + "attention.self.query",
    "layers/attention/key": LAYER + "attention.self.key",
    "layers/attention/value": LAYER + "attention.self.value",
    "layers/attention_output/dense": LAYER + "attention.output.dense",
    "layers/attention_output/norm": LAYER + "attention.output.LayerNorm",
    "layers/ffn/intermediate": LAYER + "{ffn}intermediate.dense",
    "layers/ffn/output/dense": LAYER + "{ffn}output.dense",
    "layers/ffn/output/norm": LAYER + "{ffn}output.LayerNorm",
    "layers/bottleneck_output/dense": LAYER + "output.bottleneck.dense",
    "layers/bottleneck_output/norm": LAYER + "output.bottleneck.LayerNorm",
    "pooler/dense": "mobilebert.pooler.dense",
    "masked_lm/transform": "cls.predictions.transform.dense",
    "masked_lm/norm": "cls.predictions.transform.LayerNorm",
    "masked_lm": "cls.predictions",
    "next_sentence": "cls.seq_relationship",
    "span": "qa_outputs",
    "classifier": "classifier",
}
"""Module to module; `{ffn}` is `ffn.{j}.` for all but a block's last FFN, whose names there carry no number."""

LEAVES = {
    "kernel": ("weight", True),
    "embedding": ("weight", False),
    "scale": ("weight", False),
    "bias": ("bias", False),
    "extra_embedding": ("dense.weight", True),
    "output_bias": ("bias", False),
}
"""Parameter to (parameter, whether it is stored transposed)."""

TIED = {
    "cls.predictions.decoder.weight": "mobilebert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
"""Second names of one tensor; transformers stores only the names on the right, older files hold both."""

ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "gelu": "gelu_new", "gelu_erf": "gelu"}
"""Our activation to theirs."""

RUN_TIME_FIELDS = ("dtype", "remat", "scan_unroll")
"""Settings of a run, not of a model: never stored (`dtype` means something else there)."""

JSON_TYPES = {int: (int,), float: (int, float), bool: (bool,), str: (str,)}


@dataclasses.dataclass(frozen=True)
class Stored:
    """How a state dict holds one parameter: as one tensor or as one a layer, all of `shape`."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    transposed: bool
    stacked: bool

    def split(self, parameter: np.ndarray) -> dict[str, np.ndarray]:
        """The parameter as contiguous tensors by name."""
        layers = parameter if self.stacked else parameter[None]
        layers = layers.swapaxes(1, 2) if self.transposed else layers
        return dict(zip(self.names, map(np.ascontiguousarray, layers), strict=True))

    def join(self, tensors: dict[str, np.ndarray]) -> np.ndarray:
        """The inverse of `split`."""
        layers = np.stack([tensors[name] for name in self.names])
        layers = layers.swapaxes(1, 2) if self.transposed else layers
        return layers if self.stacked else layers[0]


def stored_as(parameter: str, shape: tuple[int, ...], cfg: ModelConfig) -> Stored:
    """The state dict's side of 'encoder/layers/attention/query/kernel' ('encoder/' may be left out) of that shape.

    Raises:
        KeyError: not a parameter of these models.
    """
    module, _, leaf = parameter.removeprefix("encoder/").rpartition("/")
    ffn = re.match(r"layers/ffn_(\d+)", module)
    number = ""
    if ffn:
        module = module.replace(ffn[0], "layers/ffn")
        number = "" if int(ffn[1]) == cfg.num_feedforward_networks - 1 else f"ffn.{ffn[1]}."
    suffix, transposed = LEAVES[leaf]
    pattern = f"{MODULES[module]}.{suffix}"
    stacked = is_stacked(parameter)
    layers, shape = (shape[0], shape[1:]) if stacked else (1, shape)
    names = tuple(pattern.format(layer=layer, ffn=number) for layer in range(layers))
    return Stored(names, shape[::-1] if transposed else shape, transposed, stacked)


def is_unused_tensor(name: str, cfg: ModelConfig) -> bool:
    """True for what transformers builds and stores without using it, and our model of that config does not have."""
    return (
        name.endswith("embeddings.position_ids")
        or (".embedding_transformation." in name and not cfg.trigram_input)
        or (".bottleneck.attention." in name and cfg.use_bottleneck_attention)
    )


def config_to_hugging_face(cfg: ModelConfig) -> dict[str, Any]:
    """The fields of a `config.json`; `zero_pad_embeddings` is ours alone and ignored there."""
    values = {name: value for name, value in cfg.to_dict().items() if name not in RUN_TIME_FIELDS}
    return {**values, "model_type": "mobilebert", "hidden_act": ACTIVATIONS[cfg.hidden_act]}


def config_from_hugging_face(values: dict[str, Any], source: str) -> ModelConfig:
    """The config a `config.json` means; what it leaves out has transformers' default, what we do not know is ignored.

    Raises:
        UserError: another model type, a value of another type, an unknown activation, a config that is no MobileBERT;
            the message starts with `source`.
    """
    if values.get("model_type") != "mobilebert":
        raise UserError(f"{source}: model_type is {values.get('model_type')!r}, only 'mobilebert' can be loaded")
    found: dict[str, Any] = {"classifier_activation": True}
    for field in dataclasses.fields(ModelConfig):
        if field.name in RUN_TIME_FIELDS or field.name not in values:
            continue
        value = values[field.name]
        if type(value) not in JSON_TYPES[field.type]:
            raise UserError(f"{source}: {field.name}={value!r}, but {field.type.__name__} is needed")
        found[field.name] = field.type(value)
    if "hidden_act" in found:
        found["hidden_act"] = _our_activation(found["hidden_act"], source)
    if not found.get("use_bottleneck", True):  # transformers ignores these then, our config does not allow them
        width = found.get("hidden_size", ModelConfig.hidden_size)
        found |= {"intra_bottleneck_size": width, "use_bottleneck_attention": False}
        found["key_query_shared_bottleneck"] = False
    try:
        return ModelConfig(**found)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _our_activation(name: str, source: str) -> str:
    ours = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu"}
    if name not in ours:
        raise UserError(f"{source}: hidden_act={name!r}, must be one of {', '.join(ours)}")
    return ours[name]
