"""Where an exported file's time goes: its dense layers by themselves, and all the rest."""

import jax.numpy as jnp

from mobilebert_jax.export.inference_form import BlockForm, InferenceForm
from mobilebert_jax.export.inference_forward import affine, embed, head_outputs
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.layers import ACTIVATIONS
from mobilebert_jax.utils.types import Array


def dense_layers(
    form: InferenceForm, input_ids: Array, attention_mask: Array, token_type_ids: Array
) -> dict[str, Array]:
    """`forward` without the products of the attention, softmax, norms and sums along the residual stream.

    Every kernel meets as many rows as there; sums stand where an exporter would else leave out what nobody reads.
    """
    x = embed(form.cfg, form.embeddings, input_ids, attention_mask, token_type_ids)
    x = x + attention_mask.reshape(-1, 1).astype(x.dtype)
    for block in form.blocks:
        x = _block(form.cfg, block, x)
    return head_outputs(form, x.reshape(*input_ids.shape, form.cfg.hidden_size))


def _block(cfg: ModelConfig, form: BlockForm, x: Array) -> Array:
    made = {"x": x}
    for projection in form.projections:
        parts = jnp.split(affine(projection.dense, made[projection.source]), len(projection.targets), axis=-1)
        made |= dict(zip(projection.targets, parts, strict=True))
    y = affine(form.attention_output.dense, made["q"] + made["k"] + made["v"])
    y = y + made["h"] if "h" in made else y
    for intermediate, output in form.ffn:
        y = affine(output.dense, ACTIVATIONS[cfg.hidden_act](affine(intermediate, y)))
    return y if form.output is None else affine(form.output.dense, y)
