"""From ConfigDict to checked dataclasses: below this file nothing knows ml_collections."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.models.config import ACTIVATIONS, ModelConfig
from mobilebert_jax.models.folder_config import CONFIG, RUN_TIME_FIELDS, read_folder_config
from mobilebert_jax.optim.optimizer import OptimizerConfig
from mobilebert_jax.quantization.recipe import METHODS
from mobilebert_jax.recipes.defaults import LOCAL_OFF
from mobilebert_jax.recipes.plans import learning_spans, transfer_plan
from mobilebert_jax.recipes.teacher_start import check_start
from mobilebert_jax.text.corpus import ERRORS
from mobilebert_jax.text.examples import check_sizes
from mobilebert_jax.text.splitters import sentence_splitter
from mobilebert_jax.text.tables import BAD_ROWS
from mobilebert_jax.text.tokenizer import KINDS
from mobilebert_jax.training.phase import Cadence
from mobilebert_jax.training.program import LearningRate
from mobilebert_jax.training.stages import TRANSFER_TERMS
from mobilebert_jax.training.walks import Pair, default_layer_map
from mobilebert_jax.utils.errors import UserError

PHASES = ("teacher", "transfer", "distill", "finetune")
STRATEGIES = ("progressive", "joint", "local", "auxiliary", "none")
COPIES = ("embeddings", "norm", "heads")
SELECTIONS = ("best", "last")
SCHEDULE = ("learning_rate", "warmup_steps", "end_ratio")
AT_LEAST_ONE = (
    "steps batch_size accumulation sequence_length keep_checkpoints evaluate_batches "
    "doc_stride max_query_length max_answer_length n_best"
).split()
MODELS_OF = {
    "teacher": ("teacher",),
    "transfer": ("teacher", "student"),
    "distill": ("teacher", "student"),
    "finetune": ("student",),
}
"""Which models see a phase's sequences."""
WITH_NEXT_SENTENCE = ("teacher", "distill")
"""Phases that may learn to tell a next sentence from a random one."""


def model_config(config: ConfigDict, which: str, vocab_size: int) -> ModelConfig:
    """`config.model.teacher` or `config.model.student` with the tokenizer's vocabulary."""
    with _named(f"model.{which}", "model"):
        return ModelConfig.from_dict({**config.model[which].to_dict(), "vocab_size": vocab_size})


def at_run_time(config: ConfigDict, which: str, cfg: ModelConfig) -> ModelConfig:
    """A model folder's config with what the run decides: dtype, remat, scan_unroll, attention_kernel."""
    return cfg.replace(**{name: config.model[which][name] for name in RUN_TIME_FIELDS})


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


def phase_settings(config: ConfigDict, name: str, steps: int, clip_frozen: bool = False) -> dict[str, Any]:
    """The fields of `Phase` that come from the config in the same way in every phase."""
    phase = config[name]
    return {
        "name": name,
        "optimizer": optimizer_config(phase, clip_frozen),
        "learning_rate": learning_rate(phase, steps),
        "cadence": cadence(phase),
        "accumulation": phase.accumulation,
        "nonfinite_skips": phase.nonfinite_skips,
        "seed": phase_seed(config, name),
    }


def transfer_pair(config: ConfigDict, teacher: ModelConfig, student: ModelConfig) -> Pair:
    """Teacher, student and layer map, checked against each other."""
    layer_map = tuple(config.transfer.layer_map) or default_layer_map(teacher, student)
    return Pair(teacher, student, layer_map, config.transfer.tf1_compat)


def check_config(config: ConfigDict) -> None:
    """What can be checked before any text is read.

    Raises:
        UserError: a value that no phase could work with, by its full name.
    """
    if config.data.corpus and config.data.store:
        raise UserError(f"data.store={config.data.store!r}: holds its text already; leave data.corpus empty")
    if not config.data.corpus and not config.data.store:
        raise UserError(
            "data.corpus is empty: give text files, hf:, tfds: or builtin:python-docs, e.g. --config.data.corpus=a.txt"
        )
    if config.finetune.dataset:
        raise UserError(
            f"finetune.dataset={config.finetune.dataset!r}: of a run's own labels only GLUE's are part, glue.dataset; "
            "`mobilebert finetune --task=...` trains on others"
        )
    check_data(config)
    check_transfer(config)
    if not 0 <= config.distill.ground_truth_ratio <= 1:
        raise UserError(f"distill.ground_truth_ratio={config.distill.ground_truth_ratio}: must lie in [0, 1]")
    models = {which: model_config(config, which, 1000) for which in ("teacher", "student")}
    if config.teacher.path:
        models.pop("teacher")
        if config.teacher.start:
            raise UserError(
                f"teacher.start={config.teacher.start}: nothing starts there, the teacher is that of teacher.path; "
                "give one of them"
            )
    elif config.teacher.start:
        check_start(config, models["teacher"], words=False)
    for name in active_phases(config):
        check_phase(config, name)
        for which in MODELS_OF[name]:
            if which in models:
                check_length(config, name, models[which], f"model.{which}")
    teacher = models.get("teacher") or _stored_teacher(config)
    if teacher and config.transfer.strategy != "none":
        pair = transfer_pair(config, teacher, models["student"])
        if config.transfer.strategy == "local" and any(config.transfer.teacher_fed):
            _check_fed(config, pair)
    check_spans(config.transfer, models["student"].num_hidden_layers)
    if config.transfer.strategy == "local":
        transfer_plan(config, models["student"].num_hidden_layers)
    # The first step of a stage's own warm-up has rate 0.
    blocks, each = models["student"].num_hidden_layers, 2 if config.transfer.background else 1
    if config.transfer.strategy == "progressive" and config.transfer.steps < blocks * each:
        raise UserError(f"transfer.steps={config.transfer.steps}: {blocks} blocks need at least {each} each to learn")


def _check_fed(config: ConfigDict, pair: Pair) -> None:
    """UserError where the teacher would feed a block what no block of the student ever makes."""
    for block, mapped in enumerate(pair.layer_map):
        if mapped != block:
            raise UserError(
                f"transfer.teacher_fed={config.transfer.teacher_fed}: a block is fed what enters the teacher's block "
                f"that it imitates; with layer_map={pair.layer_map} that is for block {block} the output of the "
                f"teacher's block {mapped - 1}, which no block of the student imitates; set teacher_fed=0.0,0.0"
            )


def _stored_teacher(config: ConfigDict) -> ModelConfig | None:
    """The given teacher's config with the vocabulary of `check_config`; None where no folder is, refused later."""
    path = Path(config.teacher.path, CONFIG)
    return read_folder_config(path).cfg.replace(vocab_size=1000) if path.is_file() else None


def check_data(config: ConfigDict) -> None:
    """The shares of the data and the seed; UserError names the one that cannot be."""
    if config.seed < 0:
        raise UserError(f"seed={config.seed}: must not be negative")
    data = config.data
    for name, possible, right in (
        ("heldout_fraction", 0 < data.heldout_fraction < 1, "between 0 and 1, both excluded"),
        ("mask_probability", 0 < data.mask_probability <= 1, "above 0 and at most 1"),
        ("short_sequence_probability", 0 <= data.short_sequence_probability <= 1, "from 0 to 1"),
        ("tokenizer_coverage", 0.98 <= data.tokenizer_coverage <= 1, "from 0.98 to 1"),
    ):
        if not possible:
            raise UserError(f"data.{name}={data[name]}: must be {right}")
    for name in ("min_characters", "max_documents", "tokenizer_sample", "workers"):
        if data[name] < 0:
            raise UserError(f"data.{name}={data[name]}: must not be negative")
    if not 1 <= data.shard_bytes <= 1 << 32:
        raise UserError(f"data.shard_bytes={data.shard_bytes}: 1 to {1 << 32} bytes of text are possible")
    if data.errors not in ERRORS:
        raise UserError(f"data.errors={data.errors!r}: must be one of {', '.join(ERRORS)}")
    if data.tokenizer_kind not in KINDS:
        raise UserError(f"data.tokenizer_kind={data.tokenizer_kind!r}: must be one of {', '.join(KINDS)}")
    sentence_splitter(data.sentences)


def check_transfer(config: ConfigDict) -> None:
    """The choices of the transfer phase; UserError names the one that is none."""
    settings = config.transfer
    if settings.strategy not in STRATEGIES:
        raise UserError(f"transfer.strategy={settings.strategy!r}: must be one of {', '.join(STRATEGIES)}")
    for part in settings.copy:
        if part not in COPIES:
            raise UserError(f"transfer.copy: {part!r} cannot be copied, only {', '.join(COPIES)}")
    if settings.strategy != "none" and not any(settings[term] for term in TRANSFER_TERMS):
        raise UserError(f"transfer.{', transfer.'.join(TRANSFER_TERMS)} are all 0: one at least must count")
    if settings.block_rate <= 0 or settings.lower_rate < 0:
        raise UserError(
            f"transfer.block_rate={settings.block_rate}, transfer.lower_rate={settings.lower_rate}: learning-rate "
            "multipliers; the first must be above 0, the second 0 (frozen) or above"
        )
    if not 0 <= settings.block_end_ratio <= 1:
        raise UserError(f"transfer.block_end_ratio={settings.block_end_ratio}: a share of each rate, from 0 to 1")
    if any(type(block) is not int for block in settings.layer_map):
        raise UserError(f"transfer.layer_map={settings.layer_map}: numbers of teacher blocks are needed, such as 1,3,5")
    check_local(settings)
    if settings.tf1_compat and settings.strategy == "progressive" and not settings.lower_rate:
        raise UserError("transfer.tf1_compat=True: the original knows soft freezing only; set transfer.lower_rate=0.3")


def check_local(settings: ConfigDict) -> None:
    """The knobs of local transfer; UserError names the one that cannot be."""
    if settings.updates < 1:
        raise UserError(f"transfer.updates={settings.updates}: updates from each batch, at least 1")
    for name, off in LOCAL_OFF.items():
        if settings.strategy != "local" and settings[name] != off:
            raise UserError(
                f"transfer.{name}={settings[name]}: is for transfer.strategy=local; with {settings.strategy} it stays "
                f"{off}"
            )
    if not 0 <= settings.joint_share < 1:
        raise UserError(
            f"transfer.joint_share={settings.joint_share}: a share of the steps, from 0 to below 1; all of them joint "
            "is transfer.strategy=joint"
        )
    if len(settings.teacher_fed) != 2 or not all(0 <= share <= 1 for share in settings.teacher_fed):
        raise UserError(
            f"transfer.teacher_fed={settings.teacher_fed}: two shares of the blocks from 0 to 1, at the first and the "
            "last local step, such as 1.0,0.0"
        )


def check_spans(settings: ConfigDict, blocks: int) -> None:
    """When each block learns; UserError names the block whose schedule lies outside the local steps."""
    for block, (start, stop) in enumerate(learning_spans(settings, blocks)):
        if not 0 <= start < stop <= 1:
            raise UserError(
                f"transfer.block_starts and block_stops: block {block} would learn from {start} to {stop} of the local "
                "steps, which lies outside them; right is 0 <= start < stop <= 1"
            )


def check_phase(config: ConfigDict, name: str) -> None:
    """The numbers that every phase has; UserError names the one that cannot be."""
    phase = config[name]
    for field in AT_LEAST_ONE:
        if phase.get(field, 1) < 1:
            raise UserError(f"{name}.{field}={phase[field]}: must be at least 1")
    for field in ("log_every", "evaluate_every", "save_every", "nonfinite_skips"):
        if phase[field] < 0:
            raise UserError(f"{name}.{field}={phase[field]}: must not be negative")
    if phase.batch_size % phase.accumulation:
        raise UserError(
            f"{name}.accumulation={phase.accumulation}: does not divide {name}.batch_size={phase.batch_size}"
        )
    for field in SCHEDULE:
        if phase.optimizer[field] < 0:
            raise UserError(f"{name}.optimizer.{field}={phase.optimizer[field]}: must not be negative")
    with _named(f"{name}.optimizer", "optimizer"):
        optimizer_config(phase)
    if config.data.packing and name in WITH_NEXT_SENTENCE and phase.next_sentence:
        raise UserError(
            f"{name}.next_sentence={phase.next_sentence}: packed rows (data.packing=True) hold no pairs of segments to "
            f"learn it from; set {name}.next_sentence=0"
        )
    if name != "finetune":
        with _named(name, name):
            check_sizes(phase.batch_size, phase.sequence_length, phase.max_predictions, config.data.mask_probability)
    if name == "finetune":
        check_tuning(config)
    if name == "finetune" and not phase.dataset and phase.max_query_length + 3 >= phase.sequence_length:
        raise UserError(
            f"finetune.max_query_length={phase.max_query_length}: leaves a window of "
            f"finetune.sequence_length={phase.sequence_length} no room for the passage"
        )


def check_tuning(config: ConfigDict) -> None:
    """The settings of every fine-tuning; UserError names the one that cannot be."""
    settings = config.finetune
    choices_of = {"bad_rows": BAD_ROWS, "bad_answers": BAD_ROWS, "select": SELECTIONS}
    choices_of |= {"quantize": ("", *METHODS), "hidden_act": ("", *ACTIVATIONS)}
    for name, choices in choices_of.items():
        if settings[name] not in choices:
            raise UserError(f"finetune.{name}={settings[name]!r}: must be one of {', '.join(filter(None, choices))}")
    if settings.epochs < 0 or settings.patience < 0:
        raise UserError(
            f"finetune.epochs={settings.epochs}, finetune.patience={settings.patience}: must not be negative"
        )
    if not 0 <= settings.warmup_share <= 1:
        raise UserError(f"finetune.warmup_share={settings.warmup_share}: must be from 0 to 1")


def check_labels(config: ConfigDict) -> None:
    """The settings of fine-tuning on labelled texts; UserError names the one that cannot be."""
    check_tuning(config)
    settings = config.finetune
    for name in ("text", "label"):
        if not settings[name]:
            raise UserError(f"finetune.{name} is empty: it names a column")


def check_length(config: ConfigDict, name: str, cfg: ModelConfig, owner: str) -> None:
    """UserError when a phase's sequences are longer than a model's positions; `owner` is what the error calls it."""
    length, longest = config[name].sequence_length, cfg.max_position_embeddings
    if length > longest:
        raise UserError(f"{name}.sequence_length={length}: {owner}.max_position_embeddings is {longest}")


def active_phases(config: ConfigDict) -> list[str]:
    """The phases that this config gives something to do."""
    idle = {
        "teacher": bool(config.teacher.path),
        "transfer": config.transfer.strategy in ("auxiliary", "none"),
        "finetune": not config.finetune.questions,
    }
    return [name for name in PHASES if not idle.get(name)]


@contextlib.contextmanager
def _named(full: str, short: str) -> Iterator[None]:
    """Lets errors that begin with `short.` begin with the setting's full name."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{full}.{str(error).removeprefix(f'{short}.')}") from error
