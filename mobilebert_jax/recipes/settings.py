"""From ConfigDict to checked dataclasses: below this file nothing knows ml_collections."""

from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.optim.optimizer import OptimizerConfig
from mobilebert_jax.training.loop import Cadence
from mobilebert_jax.training.program import LearningRate
from mobilebert_jax.training.walks import Pair, default_layer_map
from mobilebert_jax.utils.errors import UserError

PHASES = ("teacher", "transfer", "distill", "finetune")
STRATEGIES = ("progressive", "joint", "auxiliary", "none")
COPIES = ("embeddings", "heads")
SCHEDULE = ("learning_rate", "warmup_steps", "end_ratio")


def model_config(config: ConfigDict, which: str, vocab_size: int) -> ModelConfig:
    """`config.model.teacher` or `config.model.student` with the tokenizer's vocabulary."""
    return ModelConfig.from_dict({**config.model[which].to_dict(), "vocab_size": vocab_size})


def phase_seed(config: ConfigDict, phase: str) -> int:
    """A seed for each phase, so that no phase sees another's examples again."""
    return config.seed * len(PHASES) + PHASES.index(phase)


def cadence(phase: ConfigDict) -> Cadence:
    """How often the phase logs, evaluates and saves."""
    return Cadence(phase.log_every, phase.evaluate_every, phase.save_every, phase.keep_checkpoints)


def optimizer_config(phase: ConfigDict, clip_frozen: bool = False) -> OptimizerConfig:
    """The phase's optimizer without its schedule."""
    settings = {name: value for name, value in phase.optimizer.to_dict().items() if name not in SCHEDULE}
    return OptimizerConfig(**settings, clip_frozen=clip_frozen)


def learning_rate(phase: ConfigDict, total_steps: int) -> LearningRate:
    """The phase's schedule over its steps."""
    optimizer = phase.optimizer
    return LearningRate(optimizer.learning_rate, optimizer.warmup_steps, total_steps, optimizer.end_ratio)


def transfer_pair(config: ConfigDict, teacher: ModelConfig, student: ModelConfig) -> Pair:
    """Teacher, student and layer map, checked against each other."""
    layer_map = tuple(config.transfer.layer_map) or default_layer_map(teacher, student)
    return Pair(teacher, student, layer_map, config.transfer.tf1_compat)


def check_config(config: ConfigDict) -> None:
    """What can be checked before any text is read.

    Raises:
        UserError: a value that no phase could work with, by its full name.
    """
    if config.transfer.strategy not in STRATEGIES:
        raise UserError(f"transfer.strategy={config.transfer.strategy!r}: must be one of {', '.join(STRATEGIES)}")
    for part in config.transfer.copy:
        if part not in COPIES:
            raise UserError(f"transfer.copy: {part!r} cannot be copied, only {' and '.join(COPIES)}")
    if not 0 <= config.distill.ground_truth_ratio <= 1:
        raise UserError(f"distill.ground_truth_ratio={config.distill.ground_truth_ratio}: must lie in [0, 1]")
    if not config.data.corpus:
        raise UserError("data.corpus is empty: give text files or builtin:python-docs, e.g. --config.data.corpus=a.txt")
    for name in PHASES:
        _check_phase(config, name)
    teacher, student = (model_config(config, which, 1000) for which in ("teacher", "student"))
    if not config.teacher.path and config.transfer.strategy != "none":
        transfer_pair(config, teacher, student)
    if config.transfer.strategy == "progressive" and config.transfer.steps < student.num_hidden_layers:
        raise UserError(
            f"transfer.steps={config.transfer.steps}: at least one a block is needed, "
            f"the student has {student.num_hidden_layers}"
        )
    if config.transfer.tf1_compat and config.transfer.strategy == "progressive" and not config.transfer.lower_rate:
        raise UserError("transfer.tf1_compat=True: the original knows soft freezing only; set transfer.lower_rate=0.3")


def _check_phase(config: ConfigDict, name: str) -> None:
    phase = config[name]
    for field in ("batch_size", "accumulation", "sequence_length", "keep_checkpoints", "evaluate_batches"):
        if phase[field] < 1:
            raise UserError(f"{name}.{field}={phase[field]}: must be at least 1")
    for field in ("steps", "log_every", "evaluate_every", "save_every"):
        if phase[field] < 0:
            raise UserError(f"{name}.{field}={phase[field]}: must not be negative")
    if phase.batch_size % phase.accumulation:
        raise UserError(
            f"{name}.accumulation={phase.accumulation}: does not divide {name}.batch_size={phase.batch_size}"
        )
    optimizer_config(phase)
    for which in ("teacher", "student"):
        longest = config.model[which].max_position_embeddings
        if phase.sequence_length > longest:
            raise UserError(
                f"{name}.sequence_length={phase.sequence_length}: model.{which}.max_position_embeddings is {longest}"
            )
