"""What the inference-only form computes, in operations that every exporter has.

Rows of all examples stand in one matrix, but for the attention. Lookups clip, shapes may be symbolic, positions are an
iota, neighbours a pad and two slices, and a masked score is a large finite number.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mobilebert_jax.export.inference_form import (
    Affine,
    BlockForm,
    EmbeddingsForm,
    InferenceForm,
    Join,
    LayerNorm,
    MaskedLMForm,
    Projection,
)
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.layers import ACTIVATIONS, normalise
from mobilebert_jax.quantization.int8 import Int8
from mobilebert_jax.utils.types import INPUTS, Array

Forward = Callable[..., dict[str, Array]]
"""As `forward`: form and three inputs to outputs by name."""

MASKED = -1e9
"""Added to a score of a key that is padding."""

OUTPUTS = (
    "start_logits end_logits logits prediction_logits seq_relationship_logits last_hidden_state pooler_output"
).split()
"""All there are, in the order in which an exported model gives its own."""


def forward(form: InferenceForm, input_ids: Array, attention_mask: Array, token_type_ids: Array) -> dict[str, Array]:
    """Three int arrays [B, S] -> the outputs by transformers' names, float32.

    start_logits, end_logits [B, S]; logits [B, C], of tokens and of masked LM [B, S, C or V]; prediction_logits and
    seq_relationship_logits; without a head last_hidden_state [B, S, H], and pooler_output [B, H].
    """
    cfg = form.cfg
    batch, length = input_ids.shape
    x = embed(cfg, form.embeddings, input_ids, attention_mask, token_type_ids)
    bias = (1.0 - attention_mask.astype(jnp.float32))[:, None, None, :] * MASKED
    for block in form.blocks:
        x = run_block(cfg, block, x, bias, (batch, length))
    return head_outputs(form, x.reshape(batch, length, cfg.hidden_size))


def output_names(form: InferenceForm) -> tuple[str, ...]:
    """What `forward` gives, in the order of `OUTPUTS`."""
    inputs = [jax.ShapeDtypeStruct((1, 2), jnp.int32)] * len(INPUTS)
    given = jax.eval_shape(forward, form, *inputs)
    return tuple(name for name in OUTPUTS if name in given)


def embed(cfg: ModelConfig, form: EmbeddingsForm, input_ids: Array, attention_mask: Array, types: Array) -> Array:
    """Ids [B, S] -> rows [B S, H]."""
    batch, length = input_ids.shape
    words = lookup(form.words, input_ids)
    if cfg.zero_pad_embeddings:
        words = words * attention_mask.astype(jnp.float32)[:, :, None]
    if cfg.trigram_input:
        padded = jnp.pad(words, ((0, 0), (1, 1), (0, 0)))
        previous, following = (jax.lax.slice_in_dim(padded, k, k + length, axis=1) for k in (0, 2))
        words = jnp.concatenate([following, words, previous], axis=-1)
    if form.transformation is not None:
        words = affine(form.transformation, words.reshape(batch * length, -1)).reshape(batch, length, -1)
    positions = lookup(form.positions, jax.lax.broadcasted_iota(jnp.int32, (1, length), 1))
    x = (words + lookup(form.token_types, types) + positions).reshape(batch * length, -1)
    return x if form.norm is None else layer_norm(form.norm, x)


def run_block(cfg: ModelConfig, form: BlockForm, x: Array, bias: Array, shape: tuple[int, int]) -> Array:
    """Rows [B S, H] -> [B S, H]; `bias` [B, 1, 1, S] is added to the scores."""
    made = {"x": x, "h": x}
    for projection in form.projections:
        made |= project(projection, made[projection.source])
    context = attend(cfg, made["q"], made["k"], made["v"], bias, shape)
    y = join(form.attention_output, context, made["h"])
    act = ACTIVATIONS[cfg.hidden_act]
    for intermediate, output in form.ffn:
        y = join(output, act(affine(intermediate, y)), y)
    return y if form.output is None else join(form.output, y, x)


def project(form: Projection, x: Array) -> dict[str, Array]:
    """All that is made of `x`, by name."""
    parts = jnp.split(affine(form.dense, x), len(form.targets), axis=-1)
    normed = (part if norm is None else layer_norm(norm, part) for part, norm in zip(parts, form.norms, strict=True))
    return dict(zip(form.targets, normed, strict=True))


def attend(cfg: ModelConfig, query: Array, key: Array, value: Array, bias: Array, shape: tuple[int, int]) -> Array:
    """Rows [B S, inner] -> the context [B S, inner]; queries are scaled already."""

    def heads(rows: Array) -> Array:
        return rows.reshape(*shape, cfg.num_attention_heads, cfg.head_size).transpose(0, 2, 1, 3)

    scores = jnp.matmul(heads(query), heads(key).transpose(0, 1, 3, 2)) + bias
    context = jnp.matmul(jax.nn.softmax(scores, axis=-1), heads(value))
    return context.transpose(0, 2, 1, 3).reshape(shape[0] * shape[1], cfg.inner_size)


def join(form: Join, y: Array, residual: Array) -> Array:
    """norm(dense(y) + keep * residual)."""
    x = affine(form.dense, y) + (residual if form.keep is None else residual * form.keep)
    return x if form.norm is None else layer_norm(form.norm, x)


def affine(form: Affine, x: Array) -> Array:
    """Rows [n, in] -> [n, out]."""
    return jnp.matmul(x, form.kernel) + form.bias


def lookup(table: Array | Int8, ids: Array) -> Array:
    """Rows of a table, float32; without the default's checks, which exported graphs would carry along."""
    if isinstance(table, Int8):
        return lookup(table.values, ids).astype(jnp.float32) * lookup(table.scale, ids)
    return jnp.take(table, ids, axis=0, mode="clip")


def layer_norm(form: LayerNorm, x: Array) -> Array:
    """In two passes, as in training."""
    return normalise(x, form.epsilon) * form.scale + form.bias


def head_outputs(form: InferenceForm, x: Array) -> dict[str, Array]:
    """What the heads make of the last hidden state [B, S, H]."""
    if "span" in form.outputs:
        logits = affine(form.outputs["span"], x)
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
    made = {}
    if form.masked_lm is not None:
        name = "prediction_logits" if form.outputs else "logits"
        made[name] = masked_lm(ACTIVATIONS[form.cfg.hidden_act], form.masked_lm, x)
    for name, head in form.outputs.items():
        made[name] = affine(head, _pooled(form, x) if form.pools else x)
    if made:
        return made
    hidden = x if form.scale is None else x * form.scale
    pooled = _pooled(form, x) if form.pooler is not None else hidden[:, 0]
    return {"last_hidden_state": hidden, "pooler_output": pooled}


def _pooled(form: InferenceForm, x: Array) -> Array:
    first = x[:, 0]
    return first if form.pooler is None else jnp.tanh(affine(form.pooler, first))


def masked_lm(act: Callable[[Array], Array], form: MaskedLMForm, x: Array) -> Array:
    """Vocabulary logits of every token, [B, S, V]."""
    return jnp.matmul(layer_norm(form.norm, act(affine(form.transform, x))), form.table.T) + form.bias
