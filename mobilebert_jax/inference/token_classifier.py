"""Tags of words, and the entities that they mark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_jax.inference.classifier import labelled_folder
from mobilebert_jax.inference.entities import entity_spans
from mobilebert_jax.inference.folders import Load, check_sizes, in_jax
from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.text.lengths import in_order_of_length, length_buckets
from mobilebert_jax.text.tokenizer import Tokenizer
from mobilebert_jax.text.words import WordRows
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, Batch

PredictWords = Callable[[Batch], Array]
"""`input_ids`, `attention_mask` and `token_type_ids`, each [B, S] int32 -> logits [B, S, C] float32."""


@dataclass(frozen=True)
class TaggedWord:
    """A word, its likeliest tag, and that tag's probability."""

    word: str
    tag: str
    probability: float


@dataclass(frozen=True)
class Entity:
    """An entity: half-open words of its sentence; `probability` is that of its least certain word's tag."""

    type: str
    start: int
    end: int
    words: tuple[str, ...]
    probability: float


@dataclass
class TokenClassifier:
    """Tags words with a model given as a function of a batch, called with `batch_size` rows of a few lengths.

    A sentence is a sequence of words, divided as those were that the model learnt from; one that is longer than
    `sequence_length` tokens goes on in further rows, with a warning in the log.
    """

    predict_batch: PredictWords
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    sequence_length: int = 128
    batch_size: int = 32
    bucketing: bool = True

    def __post_init__(self):
        check_sizes(self, "sequence_length", "batch_size")

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, precision: str = "float32", load: Load = in_jax, **settings: Any
    ) -> "TokenClassifier":
        """From a model folder with its tokenizer; options and errors as in `Classifier.from_pretrained`."""
        words = "token_classification", "tags", "tokens"
        return cls(*labelled_folder(path, *words, precision, settings, cls.sequence_length, load), **settings)

    def predict(self, sentences: Sequence[Sequence[str]]) -> list[list[TaggedWord]]:
        """Every word with its tag, sentence by sentence."""
        shares = softmax(self.logits(sentences))
        tags = iter([self.labels[tag] for tag in shares.argmax(axis=1).tolist()])
        best = iter(shares.max(axis=1).tolist())
        return [[TaggedWord(word, next(tags), next(best)) for word in sentence] for sentence in sentences]

    def find_entities(self, sentences: Sequence[Sequence[str]]) -> list[list[Entity]]:
        """The entities of every sentence, by the rules of `entity_spans`."""
        found = []
        for tagged in self.predict(sentences):
            spans = entity_spans([each.tag for each in tagged])
            found.append([_entity(tagged, *span) for span in spans])
        return found

    def logits(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Logits [W, C] float32 of all words, sentence after sentence."""
        if isinstance(sentences, str) or any(isinstance(sentence, str) for sentence in sentences):
            raise UserError("a list of sentences is needed, each a list of words, not a text")
        rows = WordRows.build(self.tokenizer, sentences, self.sequence_length)
        buckets = length_buckets(self.sequence_length, self.bucketing)
        return predict_words(self.predict_batch, rows, buckets, self.batch_size, len(self.labels))


def predict_words(
    predict: PredictWords, rows: WordRows, buckets: np.ndarray, batch_size: int, classes: int
) -> np.ndarray:
    """Logits [W, classes] float32 of all words, in their order: those of their first pieces."""
    logits = np.zeros((len(rows.column), classes), np.float32)
    for members, count, length in in_order_of_length(rows.pairs.lengths, buckets, batch_size):
        place, column, word = rows.words(members[:count])
        logits[word] = np.asarray(predict(rows.pairs.batch(members, length)))[place, column]
    return logits


def _entity(tagged: Sequence[TaggedWord], kind: str, start: int, end: int) -> Entity:
    own = tagged[start:end]
    return Entity(kind, start, end, tuple(each.word for each in own), min(each.probability for each in own))
