"""Answers to a question from a passage, with scores and their place in the passage."""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert_jax.inference.folders import Load, check_sizes, in_jax, tokenizer_and_length
from mobilebert_jax.inference.predictor import Predict, predict_windows
from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.inference.spans import Span, answer_end, best_spans
from mobilebert_jax.text.lengths import window_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.window_groups import grouped_windows
from mobilebert_jax.text.windows import Windows
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, Batch

CANDIDATES = 20
"""Spans a question that share probability with "no answer", or as many as are asked for."""


@dataclass(frozen=True)
class Answer:
    """A piece of the passage: `text == passage[start:end]`."""

    text: str
    start: int
    end: int
    score: float  # start logit + end logit
    probability: float  # softmax over all candidates and "no answer"


class Answers(list[Answer]):
    """The answers, best first; empty where "no answer" won, and `explanation` says by how much.

    `null_score` is the score of "no answer"; `score_difference` is `null_score` minus the best span's score (infinite
    where the passage offers no span), the number that is compared with the threshold. `null_probability` is what the
    answers' probabilities leave for "no answer".
    """

    def __init__(
        self,
        answers: Iterable[Answer],
        null_score: float,
        score_difference: float,
        explanation: str,
        null_probability: float,
    ):
        super().__init__(answers)
        self.null_score = null_score
        self.score_difference = score_difference
        self.explanation = explanation
        self.null_probability = null_probability


@dataclass
class QuestionAnswerer:
    """Finds answers with a span model, given as a function of a batch of windows.

    `predict` is called with `batch_size` windows of a few lengths, without `bucketing` of `sequence_length` alone. A
    window is padded to the same length whatever stands beside it. `max_answer_length` counts tokens.
    `threshold`: "no answer" wins when its score exceeds the best span's by more than this.

    Raises:
        UserError: a size below 1.
    """

    predict: Predict
    tokenizer: Tokenizer
    sequence_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    max_answer_length: int = 30
    batch_size: int = 32
    threshold: float = 0.0
    bucketing: bool = True

    def __post_init__(self):
        check_sizes(self, "sequence_length", "doc_stride", "max_query_length", "max_answer_length", "batch_size")

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, precision: str = "float32", load: Load = in_jax, **settings: Any
    ) -> "QuestionAnswerer":
        """From a model folder with its tokenizer; `settings` are the fields above.

        `precision` is what it computes with, see `at_precision`, and `load` what else than JAX computes it. Unless
        given, `sequence_length` is at most the model's number of positions, `doc_stride` and `max_query_length` are at
        most a third of that; `batch_size` is 1: a short passage is one window, and any larger batch would be padding.
        Raises UserError when the folder is no model with its tokenizer, or the model is too small for
        `sequence_length`.
        """
        cfg, run = load(path, "qa", precision)
        settings = {"batch_size": 1} | settings
        tokenizer = tokenizer_and_length(path, cfg, settings, cls.sequence_length)
        shape = cls.usual_shape(settings["sequence_length"])

        def predict(batch: Batch) -> tuple[Array, Array]:
            out = run(batch)
            return out.start_logits, out.end_logits

        return cls(predict, tokenizer, **shape | settings)

    @classmethod
    def usual_shape(cls, sequence_length: int) -> dict[str, int]:
        """`doc_stride` and `max_query_length` for windows of so many tokens: the defaults, or a third of the window."""
        third = max(1, sequence_length // 3)
        return {name: min(getattr(cls, name), third) for name in ("doc_stride", "max_query_length")}

    def find_answers(self, question: str, passage: str, top_k: int = 5) -> Answers:
        """At most `top_k` answers, best first; see `Answers` for why it may be empty.

        Offsets are half-open, in characters of `passage` exactly as given. A warning says when the question is longer
        than `max_query_length` tokens and its end is not read. Raises UserError when the question is empty or leaves a
        window no room for the passage.
        """
        return self.find_answers_batch([(question, passage)], top_k)[0]

    def find_answers_batch(self, asked: Sequence[tuple[str, str]], top_k: int = 5) -> list[Answers]:
        """The answers to many (question, passage) pairs, in their order, each as if it were asked alone.

        Windows of all pairs share batches. Raises UserError as `find_answers` does.
        """
        if top_k < 1:
            raise UserError(f"top_k is {top_k}; ask for at least 1 answer")
        for question, _ in asked:
            if not question.strip():
                raise UserError("the question is empty: ask something about the passage")
        questions, passages = [question for question, _ in asked], [passage for _, passage in asked]
        names = ("sequence_length", "doc_stride", "max_query_length")
        found: list[Answers] = []
        for rows, windows in grouped_windows(
            self.tokenizer, questions, passages, **{name: getattr(self, name) for name in names}
        ):
            self._warn_of_cut(questions[rows], windows)
            found += self._answer(passages[rows], windows, top_k)
        return found

    def _answer(self, passages: Sequence[str], windows: Windows, top_k: int) -> list[Answers]:
        """Of each question that the windows belong to."""
        buckets = window_buckets(self.sequence_length, self.bucketing)
        logits = predict_windows(self.predict, windows, buckets, self.batch_size)
        limits = {"n_best": max(CANDIDATES, top_k), "max_answer_length": self.max_answer_length}
        spans, null_scores = best_spans(windows, *logits, **limits)
        parts = zip(passages, spans, null_scores.tolist(), strict=True)
        return [self._judge(passage, own, null_score, top_k) for passage, own, null_score in parts]

    def _warn_of_cut(self, questions: Sequence[str], windows: Windows) -> None:
        for place in windows.cut:
            text = f"the question {questions[place][:60]!r}... is read up to its token {self.max_query_length} only"
            warnings.warn(text, stacklevel=4)

    def _judge(self, passage: str, spans: list[Span], null_score: float, top_k: int) -> Answers:
        if not spans:
            reason = f"The passage has no span of at most {self.max_answer_length} tokens that could be an answer."
            return Answers([], null_score, math.inf, reason, 1.0)
        difference = null_score - spans[0].score
        side = "above" if difference > 0 else "below"
        reason = (
            f'"No answer" scores {abs(difference):.2f} {side} the best span; '
            f"it wins when more than {self.threshold:g} above."
        )
        *shares, silence = softmax([*(span.score for span in spans), null_score]).tolist()
        answers = [] if difference > self.threshold else _answers(passage, spans[:top_k], shares)
        return Answers(answers, null_score, difference, reason, silence)


def _answers(passage: str, spans: list[Span], shares: list[float]) -> list[Answer]:
    ends = [answer_end(passage, span.end_char) for span in spans]
    return [
        Answer(passage[span.start_char : end], span.start_char, end, span.score, share)
        for span, end, share in zip(spans, ends, shares, strict=False)
    ]
