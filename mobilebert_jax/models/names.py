"""Hugging Face's names for our parameters (transformers `models/mobilebert` and `models/bert`, Apache-2.0 and MIT).

A state dict there has one tensor a layer, linear weights `[out, in]`, and every encoder tensor below `mobilebert.` or
`bert.`, the family's name; what a plain BERT has is named alike in both.
"""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.utils.trees import is_stacked

FAMILIES = ("mobilebert", "bert")
"""transformers' `model_type`s, each also the prefix of its encoder's tensors in a model that has a head."""

LAYER = "{family}.encoder.layer.{layer}."

MODULES = {
    "embeddings/word_embeddings": "{family}.embeddings.word_embeddings",
    "embeddings/token_type_embeddings": "{family}.embeddings.token_type_embeddings",
    "embeddings/position_embeddings": "{family}.embeddings.position_embeddings",
    "embeddings/embedding_transformation": "{family}.embeddings.embedding_transformation",
    "embeddings/norm": "{family}.embeddings.LayerNorm",
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
    "pooler/dense": "{family}.pooler.dense",
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
    "cls.predictions.decoder.weight": "{family}.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
"""Second names of one tensor; transformers stores only the names on the right, older files hold both."""

HEADLESS = ("embeddings.", "encoder.", "pooler.")
"""What the encoder's tensors start with in a model without a head: the family's prefix is left out."""

OLD_LEAVES = {".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"}
"""The norms' names in the first PyTorch files, which `bert-base-uncased` still has."""


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

    def join(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """The inverse of `split`, float32 in memory of its own; one tensor is read at a time."""
        shape = self.shape[::-1] if self.transposed else self.shape
        layers = np.empty((len(self.names), *shape), np.float32)
        for layer, name in enumerate(self.names):
            layers[layer] = tensors[name].T if self.transposed else tensors[name]
        return layers if self.stacked else layers[0]


def stored_as(parameter: str, shape: tuple[int, ...], cfg: ModelConfig, family: str = "mobilebert") -> Stored:
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
    names = tuple(pattern.format(family=family, layer=layer, ffn=number) for layer in range(layers))
    return Stored(names, shape[::-1] if transposed else shape, transposed, stacked)


def standard_name(name: str, family: str) -> str:
    """A stored tensor's name with the family's prefix and today's names of the norms."""
    for old, new in OLD_LEAVES.items():
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return f"{family}.{name}" if name.startswith(HEADLESS) else name


def tied_names(family: str) -> dict[str, str]:
    """Second name -> the name that is stored."""
    return {alias: name.format(family=family) for alias, name in TIED.items()}


def is_unused_tensor(name: str, cfg: ModelConfig) -> bool:
    """True for what a folder may hold without our model of that config using it.

    Buffers, what transformers builds but never calls, and the pooler of another head's folder.
    """
    return (
        name.endswith("embeddings.position_ids")
        or ".pooler." in name
        or (".embedding_transformation." in name and not cfg.trigram_input)
        or (".bottleneck.attention." in name and cfg.use_bottleneck_attention)
    )
