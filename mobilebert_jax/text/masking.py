"""Which tokens a masked language model must guess, and what it sees in their place."""

import numpy as np


def prediction_counts(num_maskable: np.ndarray, mask_probability: float, max_predictions: int) -> np.ndarray:
    """min(max_predictions, max(1, round(mask_probability * n))) for n = `num_maskable` [B]; 0 where n is 0.

    As google-research/bert create_pretraining_data.py, with n counted over maskable tokens.
    """
    wanted = np.maximum(1, np.rint(mask_probability * num_maskable).astype(np.int64))
    return np.minimum(np.minimum(wanted, max_predictions), num_maskable)


def select_tokens(scores: np.ndarray, maskable: np.ndarray, counts: np.ndarray, max_predictions: int) -> np.ndarray:
    """The `counts` [B] maskable tokens with the lowest scores.

    `scores` random uint64 [B, S], `maskable` bool [B, S], `counts` at most min(max_predictions, maskable tokens).
    Returns int64 [B, max_predictions], ascending, S where unused.
    """
    order = _rank(scores, maskable)[:, :max_predictions]
    used = np.arange(max_predictions) < counts[:, None]
    return np.sort(np.where(used, order, scores.shape[1]), axis=1)


def select_words(
    scores: np.ndarray, maskable: np.ndarray, continuation: np.ndarray, counts: np.ndarray, max_predictions: int
) -> np.ndarray:
    """Whole words in the order of their scores, each taken if all its tokens still fit into `counts` [B].

    The rule of google-research/bert's whole-word masking: a word too long is skipped, later ones may fit.
    `continuation` bool [B, S] marks the tokens that belong to the word before them. Arguments and result as in
    `select_tokens`; fewer than `counts` are chosen where nothing fits.
    """
    rows, length = scores.shape
    begins = maskable.copy()
    begins[:, 1:] &= ~(continuation[:, 1:] & maskable[:, :-1])
    word = np.cumsum(begins, axis=1) - 1
    slots = np.where(maskable, word, length) + np.arange(rows)[:, None] * (length + 1)
    sizes = np.bincount(slots.ravel(), minlength=rows * (length + 1)).reshape(rows, length + 1)[:, :length]
    order = _rank(scores, sizes > 0)
    taken = np.zeros((rows, length), bool)
    np.put_along_axis(taken, order, _take_while_fitting(np.take_along_axis(sizes, order, axis=1), counts), axis=1)
    selected = maskable & np.take_along_axis(taken, np.maximum(word, 0), axis=1)
    return np.sort(np.where(selected, np.arange(length), length), axis=1)[:, :max_predictions]


def _rank(scores: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """int64 [B, S]: columns by ascending score, those not `eligible` last.

    The column number replaces the score's low 16 bits, for sorting values is several times faster than sorting indices.
    """
    low = np.uint64(0xFFFF)
    columns = np.arange(scores.shape[1], dtype=np.uint64)
    keys = (scores >> np.uint64(1)) & ~low | columns
    keys[~eligible] |= np.uint64(1 << 63)
    return (np.sort(keys, axis=1) & low).astype(np.int64)


def _take_while_fitting(sizes: np.ndarray, budget: np.ndarray) -> np.ndarray:
    """Greedy choice along the rows of `sizes` [B, W]: True where it is not 0 and fits into the rest of `budget` [B].

    A round takes all up to the first that does not fit; what is left of the budget then is less than that one, and
    whatever is larger is out, so rounds are few.
    """
    taken = np.zeros(sizes.shape, bool)
    waiting = sizes > 0
    while (waiting := waiting & (sizes <= budget[:, None])).any():
        total = np.cumsum(np.where(waiting, sizes, 0), axis=1)
        fits = waiting & (total <= budget[:, None])
        taken |= fits
        waiting &= ~fits
        budget = budget - np.where(fits, sizes, 0).sum(axis=1)
    return taken


def replace_tokens(
    original: np.ndarray, mask_id: int, candidates: np.ndarray, action: np.ndarray, choice: np.ndarray
) -> np.ndarray:
    """What stands at the selected places: [MASK] in 80%, the original in 10%, one of `candidates` [C] in 10%.

    `original` [n] ids; `action` [n] and `choice` [n] are uniform in [0, 1).
    """
    replacement = candidates[(choice * len(candidates)).astype(np.int64)]
    return np.where(action < 0.8, mask_id, np.where(action < 0.9, original, replacement))
