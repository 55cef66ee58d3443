"""Scores to probabilities."""

from collections.abc import Sequence

import numpy as np


def softmax(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """Probabilities [..., n] float64 of n alternatives with these scores."""
    scores = np.asarray(scores, np.float64)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
