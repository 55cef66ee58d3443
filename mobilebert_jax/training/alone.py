"""A network that learns from its batch alone, or from its batch and a teacher's logits: no walk in common."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax

from mobilebert_jax.objectives.classes import label_counts, label_sums
from mobilebert_jax.objectives.pretraining import (
    distillation_sum,
    masked_lm_correct,
    masked_lm_sum,
    next_sentence_correct,
    next_sentence_sum,
    pretraining_counts,
)
from mobilebert_jax.objectives.span import span_counts, span_sum
from mobilebert_jax.objectives.terms import weighted_total
from mobilebert_jax.optim.masks import multiplier_tree
from mobilebert_jax.training.program import Control
from mobilebert_jax.utils.placement import of_teacher
from mobilebert_jax.utils.types import INPUTS, Array, Batch, Params, PretrainingOutput


def head_counts(batch: Batch, tf1_compat: bool) -> dict[str, Array]:
    """Counts of every head term that the batch has labels for; accuracies share their loss's count."""
    counts = {}
    if "masked_weights" in batch:
        counts |= pretraining_counts(batch, tf1_compat=tf1_compat)
        counts["masked_lm_accuracy"] = pretraining_counts(batch)["masked_lm"]
    if "next_sentence_labels" in batch:
        counts["next_sentence_accuracy"] = counts["next_sentence"]
    if "start_positions" in batch:
        counts |= span_counts(batch)
    if "labels" in batch:
        counts |= label_counts(batch)
    return counts


def pretraining_sums(
    out: PretrainingOutput, batch: Batch, coefficients: Mapping[str, float], teacher_logits: Array | None = None
) -> dict[str, Array]:
    """Sums of the masked-LM, next-sentence and distillation terms that have a coefficient, with accuracies.

    A batch of packed rows has no next sentences, so nothing reaches the pooler and that head.
    """
    ids, weights = batch["masked_ids"], batch["masked_weights"]
    sums = {
        "masked_lm": masked_lm_sum(out.prediction_logits, ids, weights),
        "masked_lm_accuracy": masked_lm_correct(out.prediction_logits, ids, weights),
    }
    if coefficients.get("next_sentence") and "next_sentence_labels" in batch:
        labels = batch["next_sentence_labels"]
        sums["next_sentence"] = next_sentence_sum(out.seq_relationship_logits, labels)
        sums["next_sentence_accuracy"] = next_sentence_correct(out.seq_relationship_logits, labels)
    if teacher_logits is not None:
        sums["distillation"] = distillation_sum(out.prediction_logits, teacher_logits, weights)
    return sums


def general_multipliers(trained: Params, control: Control, factor: Array) -> Params:
    """Multipliers of a whole network: blocks, embeddings, and the rest (pooler and heads)."""
    return multiplier_tree(
        trained,
        [
            (r"encoder/layers/.*", control.block_rates * factor),
            (r"encoder/embeddings/.*", control.embedding_rate * factor),
            (r"(?!encoder/(layers|embeddings)/).*", control.head_rate * factor),
        ],
    )


@dataclasses.dataclass(frozen=True, eq=False)
class AloneProgram:
    """One network, all of it differentiated by JAX's own reverse mode: teacher pretraining, PD, fine-tuning.

    `teacher`: the model whose masked-LM logits the `distillation` term follows. `dropout`: off wherever a teacher
    takes part, as in the reference. `uniform`: every parameter learns at the same rate, no multipliers.
    """

    model: nn.Module
    coefficients: Mapping[str, float]
    teacher: nn.Module | None = None
    dropout: bool = True
    uniform: bool = True
    tf1_compat: bool = False
    name: str = "alone"
    one_block: ClassVar[bool] = False
    independent: ClassVar[bool] = False
    updates: ClassVar[int] = 1

    def part(self, tree: Params) -> Params:
        """Everything."""
        return tree

    def cut(self, params: Params, block: int) -> tuple[Params, Params]:
        """(everything, nothing)."""
        return params, {}

    def join(self, trained: Params, rest: Params, block: int) -> Params:
        """The trained tree is whole."""
        return trained

    def counts(self, batch: Batch) -> dict[str, Array]:
        """See `head_counts`."""
        return head_counts(batch, self.tf1_compat)

    def gradients(self, trained, rest, teacher, batch, counts, control: Control, rng):
        """Gradients of everything, and the terms' sums."""
        teacher_logits = None
        if self.teacher is not None and self.coefficients.get("distillation"):
            with of_teacher():
                positions = batch["masked_positions"]
                out = self.teacher.apply({"params": teacher}, **inputs(batch), masked_positions=positions)
            teacher_logits = out.prediction_logits

        def loss(params):
            sums = self._sums(params, batch, rng, teacher_logits)
            return weighted_total(sums, counts, self.coefficients), sums

        return jax.grad(loss, has_aux=True)(trained)

    def _sums(self, params, batch, rng, teacher_logits):
        flags = {"deterministic": not self.dropout, "rngs": {"dropout": rng}}
        if self.coefficients.get("span"):
            out = self.model.apply({"params": params}, **inputs(batch), **flags)
            return {"span": span_sum(out.start_logits, out.end_logits, batch)}
        if "labels" in batch:
            out = self.model.apply({"params": params}, **inputs(batch), **flags)
            return label_sums(out.logits, batch["labels"])
        out = self.model.apply({"params": params}, **inputs(batch), masked_positions=batch["masked_positions"], **flags)
        return pretraining_sums(out, batch, self.coefficients, teacher_logits)

    def multipliers(self, trained, control: Control, factor):
        """None where everything learns alike."""
        return None if self.uniform else general_multipliers(trained, control, factor)


def inputs(batch: Batch) -> dict[str, Array]:
    """The arrays every model takes, by name; `segment_ids` only where rows are packed."""
    return {name: batch[name] for name in (*INPUTS, "segment_ids") if name in batch}
