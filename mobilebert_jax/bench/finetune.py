"""`bench finetune`: a step of question answering, beside the loop that people write with transformers and PyTorch.

Both train the same model from the same weights on the same batch: MobileBERT with a span head, float32, AdamW,
gradients clipped to norm 1, all threads of this machine. Steps are timed in turn, so that a drifting machine slows both
alike. Their losses are compared before anything is timed, and after the last step.
"""

import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mobilebert_jax.bench.stepping import TuningStep, interleaved
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.recipes.programs import finetune_programs
from mobilebert_jax.recipes.settings import model_config
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Batch

SIDES = ("ours", "transformers")
THEIRS = {"zero_pad_embeddings": False, "torch_norm_eps": True}
"""What transformers' models do, whatever the config says."""
FEWEST_TOKENS = 100
"""Of a row: questions with passages fill most of a window."""


def bench_finetune(config: ConfigDict | None, batch_size: int, sequence_length: int, repeats: int) -> dict[str, Any]:
    """Median seconds of a step on both sides, their ratio, and how far their losses lie apart.

    `config` None means the paper's student in float32. The rows' lengths are drawn between 100 tokens (half of shorter
    windows) and the whole window, as passages have them.

    Raises:
        UserError: a size that does not fit the model, or transformers and torch are not installed.
    """
    config = ConfigDict((_paper_config() if config is None else config).to_dict())
    config.model.student.update(THEIRS)
    cfg = model_config(config, "student", config.data.vocab_size)
    if sequence_length > cfg.max_position_embeddings:
        raise UserError(f"--sequence_length={sequence_length}: the model has {cfg.max_position_embeddings} positions")
    batch = _batch(cfg.vocab_size, batch_size, sequence_length)
    theirs = torch_step(config, config.data.vocab_size)
    sides = {"ours": _ours(config, batch), "transformers": lambda: theirs(batch)}
    losses: dict[str, list[float]] = {side: [] for side in SIDES}
    works = {side: lambda side=side: losses[side].append(sides[side]()) for side in SIDES}
    medians = interleaved(works, repeats)
    apart = [abs(own - their) / abs(their) for own, their in zip(*losses.values(), strict=True)]
    return {
        "device": jax.devices()[0].device_kind,
        "batch": [batch_size, sequence_length],
        "repeats": repeats,
        "seconds": medians,
        "ratio": medians["transformers"] / medians["ours"],
        "loss_error": {"first": apart[0], "last": apart[-1]},
    }


def _paper_config() -> ConfigDict:
    config = default_config()
    config.model.student.dtype = "float32"
    return config


def _batch(vocab_size: int, batch_size: int, length: int) -> Batch:
    """Random words in pairs of question and passage, with an answer in each passage."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(min(FEWEST_TOKENS, length // 2), length + 1, batch_size)[:, None]
    places = np.arange(length)
    mask = (places < lengths).astype(np.int32)
    starts = rng.integers(lengths[:, 0] // 3, lengths[:, 0] - 3).astype(np.int32)
    return {
        "input_ids": rng.integers(5, vocab_size, (batch_size, length)).astype(np.int32) * mask,
        "attention_mask": mask,
        "token_type_ids": (places >= lengths // 4).astype(np.int32) * mask,
        "start_positions": starts,
        "end_positions": starts + 2,
    }


def _ours(config: ConfigDict, batch: Batch) -> Callable[[], float]:
    """The finetune phase's step."""
    cfg = model_config(config, "student", config.data.vocab_size)
    step = TuningStep(config, build_model(cfg, "qa"), finetune_programs(config, cfg))
    placed = jax.tree.map(jax.numpy.asarray, batch)
    return lambda: float(step(placed)["span"])


def torch_step(config: ConfigDict, vocab_size: int) -> Callable[[Batch], float]:
    """The same step in PyTorch, from the same weights through a model folder: a batch of any length -> its loss."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError(
            "bench finetune: needs PyTorch and transformers: pip install 'mobilebert-jax[parity]'"
        ) from error
    cfg = model_config(config, "student", vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(folder, build_model(cfg, "qa"), init_params(build_model(cfg, "qa"), 0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = transformers.MobileBertForQuestionAnswering.from_pretrained(folder).train()
    settings = config.finetune.optimizer
    decayed = [p for name, p in model.named_parameters() if _decays(name)]
    others = [p for name, p in model.named_parameters() if not _decays(name)]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = settings.b1, settings.b2
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, eps=settings.eps)
    warm_up, steps = settings.warmup_steps, config.finetune.steps
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, warm_up, steps)

    def step(batch: Batch) -> float:
        inputs = {name: torch.from_numpy(np.asarray(values, np.int64)) for name, values in batch.items()}
        loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        return float(loss)

    return step


def _decays(name: str) -> bool:
    return not name.endswith("bias") and "LayerNorm" not in name and "NoNorm" not in name


def print_finetune(report: dict[str, Any]) -> None:
    """The table."""
    rows, length = report["batch"]
    print(f"{report['device']}, {rows} rows of {length} tokens, medians of {report['repeats']} interleaved steps")
    for side in SIDES:
        print(f"{side:>14}{report['seconds'][side]:9.3f} s a step{rows / report['seconds'][side]:9.2f} rows/s")
    error = report["loss_error"]
    print(f"ratio {report['ratio']:.2f}; losses apart by {error['first']:.1e} at first, {error['last']:.1e} at last")
