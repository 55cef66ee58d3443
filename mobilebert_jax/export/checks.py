"""An exported file against the model that it was made from: same inputs, its own runtime, relative errors."""

from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import numpy as np

from mobilebert_jax.export.inference_forward import OUTPUTS
from mobilebert_jax.models.heads import MobileBertForMaskedLM, MobileBertForNextSentencePrediction
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Array, Params

FLOAT_BOUND = 1e-5
"""Of float32 outputs: largest difference over the tensor's largest value."""
INT8_BOUND = 0.5
"""Of 8-bit outputs, the same: a file that is broken is further off; what 8 bits cost is for `evaluate` to say."""

PROBABILITY = "probability"
"""What some files give in place of a classifier's logits: their softmax."""
SMALLEST = -80.0
"""Of a probability's logarithm, as far as it is compared: float32 ends a little below."""

Run = Callable[..., Mapping[str, Array]]
Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]


def sample_inputs(vocab_size: int, shapes: Sequence[tuple[int, int]]) -> list[Inputs]:
    """Random words [B, S] of every shape: rows of different lengths, two segments each."""
    rng = np.random.default_rng(0)
    made = []
    for batch, length in shapes:
        lengths = np.maximum(2, length - (np.arange(batch) + 1) * length // (2 * batch + 1))[:, None]
        mask = (np.arange(length) < lengths).astype(np.int32)
        ids = rng.integers(min(5, vocab_size - 1), vocab_size, (batch, length)).astype(np.int32) * mask
        made.append((ids, mask, (np.arange(length) > lengths // 3).astype(np.int32) * mask))
    return made


def reference(model: nn.Module, params: Params) -> Run:
    """The model itself, in float32, its outputs by the exported names."""
    model = model.clone(cfg=model.cfg.replace(dtype="float32"))
    names = {"prediction_logits": "logits"} if isinstance(model, MobileBertForMaskedLM) else {}
    if isinstance(model, MobileBertForNextSentencePrediction):
        names = {"seq_relationship_logits": "logits"}

    @jax.jit
    def run(*inputs: Array) -> dict[str, Array]:
        out = model.apply({"params": params}, *inputs)
        found = {name: getattr(out, name, None) for name in OUTPUTS}
        return {names.get(name, name): value for name, value in found.items() if value is not None}

    return run


def largest_error(found: Run, expected: Run, samples: Sequence[Inputs]) -> float:
    """Over all samples and outputs: the largest difference at a token, over the tensor's largest value there."""
    worst = 0.0
    for inputs in samples:
        given, wanted = found(*inputs), expected(*inputs)
        if PROBABILITY in given:
            logarithms = given["logits"], jax.nn.log_softmax(wanted["logits"], axis=-1)
            given, wanted = ({"logits": np.maximum(each, SMALLEST)} for each in logarithms)
        if given.keys() != wanted.keys():
            raise UserError(f"the exported model gives {sorted(given)}, the model {sorted(wanted)}")
        for name, value in wanted.items():
            own, other = (_at_tokens(np.asarray(each, np.float64), inputs[1]) for each in (given[name], value))
            difference = np.abs(own - other).max() / max(np.abs(other).max(), np.finfo(np.float32).tiny)
            worst = max(worst, float("inf") if np.isnan(difference) else float(difference))
    return worst


def _at_tokens(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What stands at padding means nothing."""
    return values[mask > 0] if values.shape[:2] == mask.shape else values


def check_error(file: str, error: float, bound: float) -> None:
    """UserError above the bound."""
    if not error <= bound:
        raise UserError(f"{file} was not written: its outputs are off by {error:.1e} of their scale, {bound:g} allowed")
