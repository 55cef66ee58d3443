"""All losses of a step on the outputs of two plain forward passes, and their gradient by plain reverse mode.

Nothing of `training` and `objectives` is used: no walks, no stages, no cutting, no sums and counts.
"""

import functools

import jax
import jax.numpy as jnp

from mobilebert_jax.models.heads import MobileBertForPreTraining
from tests.training.cases import COEFFICIENTS, HEADS, batch, network
from tests.training.quick import quick_jit

OFF = dict.fromkeys(COEFFICIENTS | HEADS, 0.0)


def log_softmax(xp, logits):
    logits = xp.maximum(logits, -1e30)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - xp.log(xp.exp(logits).sum(-1, keepdims=True))


def transfer_means(xp, teacher, student, layer_map, attention_mask, tf1_compat=False):
    """The four transfer losses, each [L], from two encoder outputs; `xp` is numpy or jax.numpy."""
    counted = xp.ones(attention_mask.shape) if tf1_compat else 1.0 * attention_mask
    rows = {name: [] for name in COEFFICIENTS}

    def normalised(x):
        return (x - x.mean(-1, keepdims=True)) / xp.sqrt(x.var(-1, keepdims=True) + 1e-12)

    for own, other in enumerate(layer_map):
        t, s = teacher.hidden_states[other + 1], student.hidden_states[own + 1]
        compared = teacher.hidden_states if tf1_compat else t[None]
        per_token = {
            "hidden": ((normalised(t) - normalised(s)) ** 2).mean(-1),
            "mean": ((compared.mean(-1) - s.mean(-1)) ** 2).mean(0),
            "variance": xp.abs(compared.var(-1) - s.var(-1)).mean(0),
        }
        logs = [log_softmax(xp, scores) for scores in (teacher.attention_scores[other], student.attention_scores[own])]
        probabilities = xp.exp(logs[0])
        crossed = xp.where(probabilities > 0, probabilities * logs[1], 0.0).sum(-1)
        per_token["attention"] = -crossed.mean(1)
        for name, values in per_token.items():
            rows[name].append((values * counted).sum() / counted.sum())
    return {name: xp.stack(values) for name, values in rows.items()}


def head_means(teacher_out, student_out, batch):
    """Masked LM, distillation and next sentence, each one number."""
    weights = batch["masked_weights"]
    logs = log_softmax(jnp, student_out.prediction_logits)
    targets = jnp.exp(log_softmax(jnp, teacher_out.prediction_logits))
    picked = (logs * jax.nn.one_hot(batch["masked_ids"], logs.shape[-1])).sum(-1)
    sentence = log_softmax(jnp, student_out.seq_relationship_logits)
    return {
        "masked_lm": -(picked * weights).sum() / weights.sum(),
        "distillation": -((targets * logs).sum(-1) * weights).sum() / weights.sum(),
        "next_sentence": -(sentence * jax.nn.one_hot(batch["next_sentence_labels"], 2)).sum(-1).mean(),
    }


@functools.cache
def compiled_autodiff(pair):
    teacher_model, student_model = MobileBertForPreTraining(pair.teacher), MobileBertForPreTraining(pair.student)

    def run(model, params, batch):
        ids = [batch[name] for name in ("input_ids", "attention_mask", "token_type_ids", "masked_positions")]
        return model.apply({"params": params}, *ids, output_hidden_states=True, output_attention_scores=True)

    @quick_jit
    def gradients(student, teacher, batch, weights, coefficients):
        teacher_out = run(teacher_model, teacher, batch)

        def loss(student):
            out = run(student_model, student, batch)
            means = transfer_means(jnp, teacher_out.encoder, out.encoder, pair.layer_map, batch["attention_mask"])
            means |= head_means(teacher_out, out, batch)
            terms = {name: value * weights if value.ndim else value for name, value in means.items()}
            return sum((coefficients[name] * value).sum() for name, value in terms.items()), means

        return jax.grad(loss, has_aux=True)(student)

    return gradients


def autodiff(pair, weights, coefficients=COEFFICIENTS):
    """(gradients of the whole student, means of all terms) for the pair's networks and batch of `cases`."""
    student, teacher = network(pair.student, 2), network(pair.teacher, 1)
    return compiled_autodiff(pair)(student, teacher, batch(), jnp.float32(weights), OFF | coefficients)
