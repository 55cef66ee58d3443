"""Heads on the encoder: masked LM, next sentence, answer span, classes; and the models that carry them.

What a model here takes as `**options` goes to its encoder: `segment_ids`, and which outputs are wanted.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.dropout import Dropout
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.layers import ACTIVATIONS, Dense, Norm, weight_init, zeros_init
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.placement import constrain, gathered, table_product
from mobilebert_jax.utils.types import (
    Array,
    ClassificationOutput,
    EncoderOutput,
    MaskedLMOutput,
    NextSentenceOutput,
    PretrainingOutput,
    SpanOutput,
)


class MaskedLM(nn.Module):
    """Vocabulary logits from the word table (first E features) and an extra table (the rest).

    The norm is a true LayerNorm in every variant (google-research `mobilebert/run_pretraining.py`).
    """

    cfg: ModelConfig

    @nn.compact
    def __call__(self, hidden: Array, word_table: Array) -> Array:
        """hidden [B, P, H], word_table [V, E] -> [B, P, V] float32."""
        cfg = self.cfg
        x = ACTIVATIONS[cfg.hidden_act](Dense(cfg, cfg.hidden_size, ("embed", "transform"), name="transform")(hidden))
        x = Norm(cfg, "layer_norm", name="norm")(x).astype(cfg.dtype)
        tables, axes = [word_table], [("vocab", "trigram")]
        if cfg.hidden_size > cfg.embedding_size:
            shape = (cfg.vocab_size, cfg.hidden_size - cfg.embedding_size)
            extra = self.param("extra_embedding", weight_init(cfg, "vocab", "transform"), shape)
            tables, axes = [*tables, extra], [*axes, ("vocab", "transform")]
        bias = self.param("output_bias", zeros_init("vocab"), (cfg.vocab_size,))
        logits = table_product(x, tables, axes) + gathered(bias, ("vocab",))
        return constrain(logits, ("batch", "length", "vocab"))


class Linear(nn.Module):
    """A float32 output layer."""

    cfg: ModelConfig
    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., H] -> [..., features]."""
        kernel = self.param("kernel", weight_init(self.cfg, "embed", "classes"), (x.shape[-1], self.features))
        bias = self.param("bias", zeros_init("classes"), (self.features,))
        return self.product(x, kernel) + gathered(bias, ("classes",))

    def product(self, x: Array, kernel: Array) -> Array:
        """x [..., H] times a kernel [H, features], without the bias."""
        return x @ gathered(kernel, ("embed", "classes"))


def gather_positions(hidden: Array, positions: Array) -> Array:
    """hidden [B, S, H], positions [B, P] -> [B, P, H]."""
    return jnp.take_along_axis(hidden, positions[:, :, None], axis=1)


def _masked_lm_logits(head: MaskedLM, encoder: MobileBert, hidden: Array, positions: Array | None) -> Array:
    """The head on hidden [B, S, H], at positions [B, P] or at every token, with the encoder's own word table."""
    if positions is not None:
        hidden = gather_positions(hidden, positions)
    return head(hidden, nn.unbox(encoder.variables["params"]["embeddings"]["word_embeddings"]["embedding"]))


class MobileBertForPreTraining(nn.Module):
    """Encoder, masked-LM head and next-sentence head."""

    cfg: ModelConfig

    def setup(self):
        """Names the three parts."""
        self.encoder = MobileBert(self.cfg)
        self.masked_lm = MaskedLM(self.cfg)
        self.next_sentence = Linear(self.cfg, 2)

    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        masked_positions: Array | None = None,
        **options: Any,
    ) -> PretrainingOutput:
        """Ids [B, S] and masked_positions [B, P] -> PretrainingOutput; without positions, logits at every token."""
        out = self.encoder(input_ids, attention_mask, token_type_ids, **options)
        return self.heads(out, masked_positions)

    def heads(self, out: EncoderOutput, masked_positions: Array | None = None) -> PretrainingOutput:
        """The two heads on an encoder output."""
        logits = _masked_lm_logits(self.masked_lm, self.encoder, out.last_hidden_state, masked_positions)
        return PretrainingOutput(out, logits, self.next_sentence(out.pooler_output))

    def heads_on(self, last_hidden_state: Array, masked_positions: Array | None = None) -> PretrainingOutput:
        """Pooler and heads on a last hidden state [B, S, H] that something else walked to."""
        pooled = self.encoder.pool(last_hidden_state)
        return self.heads(EncoderOutput(last_hidden_state, pooled), masked_positions)


class MobileBertForMaskedLM(nn.Module):
    """Encoder without pooler, and masked-LM head."""

    cfg: ModelConfig

    def setup(self):
        """Names the two parts."""
        self.encoder = MobileBert(self.cfg, pooling=False)
        self.masked_lm = MaskedLM(self.cfg)

    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        masked_positions: Array | None = None,
        **options: Any,
    ) -> MaskedLMOutput:
        """Ids [B, S] and masked_positions [B, P] -> MaskedLMOutput; without positions, logits at every token."""
        out = self.encoder(input_ids, attention_mask, token_type_ids, **options)
        return MaskedLMOutput(
            out, _masked_lm_logits(self.masked_lm, self.encoder, out.last_hidden_state, masked_positions)
        )


class MobileBertForNextSentencePrediction(nn.Module):
    """Encoder and next-sentence head."""

    cfg: ModelConfig

    @nn.compact
    def __call__(self, input_ids, attention_mask=None, token_type_ids=None, **options: Any) -> NextSentenceOutput:
        """Ids [B, S] -> NextSentenceOutput."""
        out = MobileBert(self.cfg, name="encoder")(input_ids, attention_mask, token_type_ids, **options)
        return NextSentenceOutput(out, Linear(self.cfg, 2, name="next_sentence")(out.pooler_output))


class MobileBertForQuestionAnswering(nn.Module):
    """Encoder without pooler, and span head: one start and one end logit a token."""

    cfg: ModelConfig

    @nn.compact
    def __call__(self, input_ids, attention_mask=None, token_type_ids=None, **options: Any) -> SpanOutput:
        """Ids [B, S] -> SpanOutput."""
        encoder = MobileBert(self.cfg, pooling=False, name="encoder")
        out = encoder(input_ids, attention_mask, token_type_ids, **options)
        logits = Linear(self.cfg, 2, name="span")(out.last_hidden_state)
        return SpanOutput(out, logits[..., 0], logits[..., 1])


class MobileBertForSequenceClassification(nn.Module):
    """Encoder, dropout of 0.1 on the pooled vector (always, as in the reference), class logits.

    `label_names`, one a class or none at all, only travel with the model.
    """

    cfg: ModelConfig
    num_labels: int = 2
    label_names: tuple[str, ...] = ()

    @nn.compact
    def __call__(
        self, input_ids, attention_mask=None, token_type_ids=None, *, deterministic: bool = True, **options: Any
    ) -> ClassificationOutput:
        """Ids [B, S] -> ClassificationOutput."""
        encoder = MobileBert(self.cfg, name="encoder")
        out = encoder(input_ids, attention_mask, token_type_ids, deterministic=deterministic, **options)
        pooled = Dropout(0.1, name="dropout")(out.pooler_output, deterministic=deterministic)
        return ClassificationOutput(out, Linear(self.cfg, self.num_labels, name="classifier")(pooled))


class MobileBertForTokenClassification(nn.Module):
    """Encoder without pooler, hidden dropout, class logits of every token; `label_names` as above."""

    cfg: ModelConfig
    num_labels: int = 2
    label_names: tuple[str, ...] = ()

    @nn.compact
    def __call__(
        self, input_ids, attention_mask=None, token_type_ids=None, *, deterministic: bool = True, **options: Any
    ) -> ClassificationOutput:
        """Ids [B, S] -> ClassificationOutput, logits [B, S, C]."""
        encoder = MobileBert(self.cfg, pooling=False, name="encoder")
        out = encoder(input_ids, attention_mask, token_type_ids, deterministic=deterministic, **options)
        dropout = Dropout(self.cfg.hidden_dropout_prob, name="dropout")
        hidden = dropout(out.last_hidden_state, deterministic=deterministic)
        return ClassificationOutput(out, Linear(self.cfg, self.num_labels, name="classifier")(hidden))


MODELS = {
    None: MobileBert,
    "pretraining": MobileBertForPreTraining,
    "masked_lm": MobileBertForMaskedLM,
    "next_sentence": MobileBertForNextSentencePrediction,
    "qa": MobileBertForQuestionAnswering,
    "classification": MobileBertForSequenceClassification,
    "token_classification": MobileBertForTokenClassification,
}
WITH_CLASSES = ("classification", "token_classification")
"""Heads that take `num_labels` and `label_names`."""


def build_model(cfg: ModelConfig, head: str | None = None, **options: Any) -> nn.Module:
    """The model with that head; `options` go to its class (`num_labels` and `label_names` of the two classifiers).

    Raises:
        UserError: no such head.
    """
    if head not in MODELS:
        raise UserError(f"head {head!r}: must be one of {', '.join(map(repr, MODELS))}")
    return MODELS[head](cfg, **options)
