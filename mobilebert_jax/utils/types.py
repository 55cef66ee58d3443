"""What travels between the rooms: batches in, outputs out.

Shape letters everywhere: B examples, S tokens, P masked positions, H hidden width, L blocks, N heads, V words.
"""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import numpy as np

Array = jax.Array | np.ndarray
Params = Any
"""A nested dict of arrays."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What every network takes, in the order in which it takes them."""

Batch = Mapping[str, Array]
"""Arrays by the field's standard names, all of one host batch:

    input_ids              [B, S] int32
    attention_mask         [B, S] int32, 1 for tokens, 0 for padding
    token_type_ids         [B, S] int32, 0 first segment (and padding), 1 second
    segment_ids            [B, S] int32, 1, 2, ... for the pieces of a row in order, 0 for padding   (packed rows only)
    masked_positions       [B, P] int32, 0 where unused                  (pretraining)
    masked_ids             [B, P] int32, the original tokens             (pretraining)
    masked_weights         [B, P] float32, 1 where a prediction counts   (pretraining)
    next_sentence_labels   [B] int32, 0 real next sentence, 1 random     (pretraining on pairs)
    start_positions, end_positions   [B] int32, token indices, both inclusive, 0 for no answer   (questions)
    labels                 [B] int32 classes, or float32 numbers                                     (labelled texts)
                           [B, S] int32 classes of tokens, -1 where none is wanted                   (tagged words)
"""


@flax.struct.dataclass
class BlockOutput:
    """One block's outputs; what was not asked for is None."""

    hidden: Array  # [B, S, H] float32
    attention_scores: Array | None = None  # [B, N, S, S] float32, masked, before the softmax
    attention_probs: Array | None = None  # [B, N, S, S] float32, after the softmax, before dropout


@flax.struct.dataclass
class EncoderOutput:
    """Encoder outputs; what was not asked for is None."""

    last_hidden_state: Array  # [B, S, H]
    pooler_output: Array | None  # [B, H]
    hidden_states: Array | None = None  # [L + 1, B, S, H], the embeddings' output first
    attention_scores: Array | None = None  # [L, B, N, S, S]
    attention_probs: Array | None = None  # [L, B, N, S, S]


@flax.struct.dataclass
class PretrainingOutput:
    """Encoder outputs with the masked-LM and next-sentence logits, float32."""

    encoder: EncoderOutput
    prediction_logits: Array  # [B, P, V] (or [B, S, V] when no positions were given)
    seq_relationship_logits: Array  # [B, 2]


@flax.struct.dataclass
class MaskedLMOutput:
    """Encoder outputs with the masked-LM logits, float32."""

    encoder: EncoderOutput
    prediction_logits: Array  # [B, P, V] (or [B, S, V] when no positions were given)


@flax.struct.dataclass
class NextSentenceOutput:
    """Encoder outputs with the next-sentence logits, float32."""

    encoder: EncoderOutput
    seq_relationship_logits: Array  # [B, 2]


@flax.struct.dataclass
class SpanOutput:
    """Encoder outputs with one start and one end logit a token, float32."""

    encoder: EncoderOutput
    start_logits: Array  # [B, S]
    end_logits: Array  # [B, S]


@flax.struct.dataclass
class ClassificationOutput:
    """Encoder outputs with class logits, float32."""

    encoder: EncoderOutput
    logits: Array  # [B, C]; of tokens [B, S, C]
