"""The inference-only form of a model, which all exporters take: its parts, unrolled, and how they are made.

A NoNorm is a product and a sum with constants, so it need not be an operation. Where it follows a dense layer it goes
into that. Where it also scales a residual, the residual stream is kept divided by the gammas it has been scaled by so
far: whoever adds to it divides, whoever reads it multiplies, both in their kernels, and only a sum is left. A channel
whose gammas multiply to almost nothing, or to very much, is scaled by an operation instead (`Join.keep`). LayerNorms
stay what they are. Layers that read the same are one product. Folding is done in float64.
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import numpy as np

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import (
    MobileBertForNextSentencePrediction,
    MobileBertForPreTraining,
    MobileBertForQuestionAnswering,
    MobileBertForTokenClassification,
)
from mobilebert_jax.utils.types import Array, Params

LEAST, MOST = 2.0**-12, 2.0**12
"""What a channel of the residual stream may have been multiplied by so far."""


@flax.struct.dataclass
class Affine:
    """x [..., in] -> x kernel + bias [..., out]."""

    kernel: Array
    bias: Array


@flax.struct.dataclass
class LayerNorm:
    """A real one."""

    scale: Array
    bias: Array
    epsilon: float = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class Join:
    """norm(dense(y) + keep * residual); None: nothing to do there."""

    dense: Affine
    keep: Array | None = None
    norm: LayerNorm | None = None


@flax.struct.dataclass
class Projection:
    """One product that makes several things of one; they stand side by side in its columns.

    `source` and `targets`: x what enters the block, h its residual inside, a what queries and keys are made from, and
    q, k, v.
    """

    dense: Affine
    norms: tuple[LayerNorm | None, ...]
    source: str = flax.struct.field(pytree_node=False)
    targets: tuple[str, ...] = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class BlockForm:
    """A block; `ffn` are (intermediate, output). Without bottlenecks there is no `output`, and h is x."""

    projections: tuple[Projection, ...]
    attention_output: Join
    ffn: tuple[tuple[Affine, Join], ...]
    output: Join | None


@flax.struct.dataclass
class EmbeddingsForm:
    """Tables and what follows them; `transformation` None where word vectors are as wide as the stream."""

    words: Array
    token_types: Array
    positions: Array
    transformation: Affine | None
    norm: LayerNorm | None


@flax.struct.dataclass
class MaskedLMForm:
    """act, norm and the words' own table, all of its columns together [V, H]."""

    transform: Affine
    norm: LayerNorm
    table: Array
    bias: Array


@flax.struct.dataclass
class InferenceForm:
    """A model, every head that it has, and what the last hidden state must be multiplied by (None: nothing).

    `outputs` are linear heads by what they give: of the first token's vector if `pools`, else of every token's.
    """

    embeddings: EmbeddingsForm
    blocks: tuple[BlockForm, ...]
    scale: Array | None
    pooler: Affine | None
    masked_lm: MaskedLMForm | None
    outputs: dict[str, Affine]
    pools: bool = flax.struct.field(pytree_node=False)
    cfg: ModelConfig = flax.struct.field(pytree_node=False)


def inference_form(model: nn.Module, params: Params) -> InferenceForm:
    """Of a model with any head, its float32 parameters and their layout as in `from_pretrained`."""
    cfg = model.cfg
    given = _as_float64(params)
    encoder = given.get("encoder", given)
    embeddings, scale = _embeddings(cfg, encoder["embeddings"])
    blocks = []
    for layer in range(cfg.num_hidden_layers):
        block, scale = _block(cfg, _layer(encoder["layers"], layer), scale)
        blocks.append(block)
    form = InferenceForm(
        embeddings=embeddings,
        blocks=tuple(blocks),
        scale=None if np.all(scale == 1.0) else scale,
        pooler=_read(encoder["pooler"]["dense"], scale) if "pooler" in encoder else None,
        masked_lm=_masked_lm(cfg, given["masked_lm"], embeddings.words, scale) if "masked_lm" in given else None,
        outputs=_outputs(model, given, scale, pooled="pooler" in encoder),
        pools=not isinstance(model, MobileBertForQuestionAnswering | MobileBertForTokenClassification),
        cfg=cfg,
    )
    return _as_float32(form)


def _embeddings(cfg: ModelConfig, given: Params) -> tuple[EmbeddingsForm, Array]:
    tables = {name: given[f"{name}_embeddings"]["embedding"] for name in ("word", "token_type", "position")}
    dense = given.get("embedding_transformation")
    one = np.ones(cfg.hidden_size)
    if cfg.normalization_type == "layer_norm":
        transformation = None if dense is None else Affine(dense["kernel"], dense["bias"])
        norm = _layer_norm(given["norm"], cfg.outer_norm_eps)
        return EmbeddingsForm(*tables.values(), transformation, norm), one
    scale, shift = given["norm"]["scale"], given["norm"]["bias"]
    if dense is None:
        form = EmbeddingsForm(
            tables["word"] * scale, tables["token_type"] * scale, tables["position"] * scale + shift, None, None
        )
        return form, one
    transformation = Affine(dense["kernel"] * scale, dense["bias"] * scale + shift)
    form = EmbeddingsForm(
        tables["word"], tables["token_type"] * scale, tables["position"] * scale, transformation, None
    )
    return form, one


def _block(cfg: ModelConfig, given: Params, scale: Array) -> tuple[BlockForm, Array]:
    """A block whose input is kept divided by `scale` [H]; what its output is divided by."""
    projections = _projections(cfg, given, scale)
    inner = np.ones(cfg.inner_size) if cfg.use_bottleneck else scale
    attention_output, inner = _join(cfg, given["attention_output"], np.ones(cfg.inner_size), inner, cfg.layer_norm_eps)
    networks = []
    for j in range(cfg.num_feedforward_networks):
        network = given[f"ffn_{j}"]
        last = j == cfg.num_feedforward_networks - 1
        intermediate = _read(network["intermediate"], inner)
        epsilon = cfg.outer_norm_eps if last else cfg.layer_norm_eps
        output, inner = _join(cfg, network["output"], np.ones(cfg.intermediate_size), inner, epsilon)
        networks.append((intermediate, output))
    if not cfg.use_bottleneck:
        return BlockForm(projections, attention_output, tuple(networks), None), inner
    output, scale = _join(cfg, given["bottleneck_output"], inner, scale, cfg.layer_norm_eps)
    return BlockForm(projections, attention_output, tuple(networks), output), scale


def _projections(cfg: ModelConfig, given: Params, scale: Array) -> tuple[Projection, ...]:
    """Everything that is made before the attention, in the order in which it can be made."""
    attention = given["attention"]
    shrink = cfg.head_size**-0.5
    query = {name: values * shrink for name, values in attention["query"].items()}
    made = {"q": (query, None), "k": (attention["key"], None), "v": (attention["value"], None)}
    for target, name in (("h", "bottleneck_input"), ("a", "bottleneck_attention")):
        if name in given:
            made[target] = given[name]["dense"], given[name]["norm"]
    if cfg.use_bottleneck_attention:
        groups = {"x": ("h",), "h": ("q", "k", "v")}
    elif cfg.shared_query_key:
        groups = {"x": ("h", "a", "v"), "a": ("q", "k")}
    else:
        groups = {"x": ("h", "q", "k", "v") if cfg.use_bottleneck else ("q", "k", "v")}
    projections = []
    for source, targets in groups.items():
        read = scale if source == "x" else np.ones(cfg.inner_size)
        parts = [_normed(cfg, *made[target], read) for target in targets]
        kernel = np.concatenate([dense.kernel for dense, _ in parts], axis=1)
        bias = np.concatenate([dense.bias for dense, _ in parts])
        projections.append(Projection(Affine(kernel, bias), tuple(norm for _, norm in parts), source, targets))
    return tuple(projections)


def _normed(cfg: ModelConfig, dense: Params, norm: Params | None, read: Array) -> tuple[Affine, LayerNorm | None]:
    """A dense layer and the norm behind it: folded, or a LayerNorm as it is."""
    affine = _read(dense, read)
    if norm is None:
        return affine, None
    if cfg.normalization_type == "layer_norm":
        return affine, _layer_norm(norm, cfg.layer_norm_eps)
    return Affine(affine.kernel * norm["scale"], affine.bias * norm["scale"] + norm["bias"]), None


def _join(cfg: ModelConfig, given: Params, read: Array, scale: Array, epsilon: float) -> tuple[Join, Array]:
    """norm(dense(y) + residual), and what it is kept divided by; so far `y` is by `read`, the residual by `scale`."""
    dense, norm = _read(given["dense"], read), given["norm"]
    if cfg.normalization_type == "layer_norm":
        keep = None if np.all(scale == 1.0) else scale
        return Join(dense, keep, _layer_norm(norm, epsilon)), np.ones_like(scale)
    gamma = norm["scale"]
    after = gamma * scale
    folds = (np.abs(after) >= LEAST) & (np.abs(after) <= MOST)
    after = np.where(folds, after, 1.0)
    keep = None if folds.all() else np.where(folds, 1.0, gamma * scale)
    kernel, bias = dense.kernel * gamma / after, (dense.bias * gamma + norm["bias"]) / after
    return Join(Affine(kernel, bias), keep), after


def _masked_lm(cfg: ModelConfig, given: Params, words: Array, scale: Array) -> MaskedLMForm:
    table = np.concatenate([words, given["extra_embedding"]], axis=1) if "extra_embedding" in given else words
    # A LayerNorm in every variant.
    norm = _layer_norm(given["norm"], cfg.layer_norm_eps)
    return MaskedLMForm(_read(given["transform"], scale), norm, table, given["output_bias"])


def _outputs(model: nn.Module, given: Params, scale: Array, pooled: bool) -> dict[str, Affine]:
    """The linear heads; they read the stream, or what the pooler has made of it."""
    if isinstance(model, MobileBertForQuestionAnswering):
        return {"span": _read(given["span"], scale)}
    read = np.ones_like(scale) if pooled else scale
    if isinstance(model, MobileBertForPreTraining):
        return {"seq_relationship_logits": _read(given["next_sentence"], read)}
    if isinstance(model, MobileBertForNextSentencePrediction):
        return {"logits": _read(given["next_sentence"], read)}
    if "classifier" in given:
        return {"logits": _read(given["classifier"], read)}
    return {}


def _read(given: Params, scale: Array) -> Affine:
    """A dense layer that reads what is kept divided by `scale`."""
    return Affine(given["kernel"] * scale[:, None], given["bias"])


def _layer_norm(given: Params, epsilon: float) -> LayerNorm:
    return LayerNorm(given["scale"], given["bias"], epsilon)


def _layer(stack: Params, layer: int) -> Params:
    if isinstance(stack, dict):
        return {name: _layer(leaf, layer) for name, leaf in stack.items()}
    return stack[layer]


def _as_float64(params: Params) -> Params:
    if isinstance(params, dict):
        return {name: _as_float64(leaf) for name, leaf in params.items()}
    return np.asarray(params, np.float64)


def _as_float32(form: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), form)
