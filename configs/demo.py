"""The whole recipe on a laptop, offline, in minutes: the text and the questions come with Python itself.

mobilebert run --workdir=runs/demo

Argument, after a colon: `local` (all blocks learn at once from the teacher, each from its own loss).
"""

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.recipes.defaults import default_config, model_fields
from mobilebert_jax.utils.errors import UserError

SIZES = {
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "embedding_size": 64,
    "max_position_embeddings": 128,
    "zero_pad_embeddings": True,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "scan_unroll": 4,
}
STEPS = {"teacher": 400, "transfer": 400, "distill": 200, "finetune": 1000}
LOCAL_STEPS = 160
"""In the place of 400 of progressive transfer: each trains all four blocks."""


def get_config(argument=""):
    """The demo: a teacher and a student of 4 blocks, 4,096 word pieces, sentence pairs of 64 tokens."""
    if argument not in ("", "local"):
        raise UserError(f"configs/demo.py:{argument}: no argument {argument!r}; there is local")
    config = default_config()
    config.model.teacher = model_fields(
        ModelConfig.ib_bert_large(intra_bottleneck_size=160, intermediate_size=320, initializer_range=0.05, **SIZES)
    )
    # Narrow layers without norms need larger weights to keep the scale of what passes through them.
    config.model.student = model_fields(
        ModelConfig.mobilebert(
            intra_bottleneck_size=64,
            intermediate_size=128,
            num_feedforward_networks=2,
            initializer_range=0.1,
            **SIZES,
        )
    )
    config.data.update({"corpus": "builtin:python-docs", "vocab_size": 4096, "heldout_fraction": 0.08})
    for name in ("teacher", "transfer", "distill"):
        config[name].update({"batch_size": 32, "sequence_length": 64, "max_predictions": 10})
        # A few hundred small batches: AdamW gets further than LAMB, which is made for large ones.
        config[name].optimizer.update({"name": "adamw", "learning_rate": 2e-3, "bias_correction": True})
    config.transfer.optimizer.name = "lamb"
    config.transfer.copy = ("embeddings", "norm", "heads")
    config.finetune.update({"questions": "builtin:python-docs-qa", "batch_size": 32, "sequence_length": 80})
    config.finetune.update({"doc_stride": 48, "max_query_length": 32, "max_answer_length": 20})
    # Its questions have like lengths: most windows hold half to three quarters of 80 tokens.
    config.finetune.bucketing = False
    config.finetune.optimizer.update({"learning_rate": 2e-3, "bias_correction": True})
    for name, steps in STEPS.items():
        config[name].update({"steps": steps, "log_every": 20, "evaluate_batches": 8})
        config[name].update({"evaluate_every": 200, "save_every": 200})
        config[name].optimizer.warmup_steps = 0 if name == "transfer" else steps // 10
    if argument == "local":
        config.transfer.update({"strategy": "local", "steps": LOCAL_STEPS, "joint_share": 0.2})
        # The rate falls to nothing, from higher than blocks could settle at.
        config.transfer.block_rate = 12.0
        config.transfer.optimizer.end_ratio = 1e-4
    # Scored once, at the end.
    config.finetune.update({"select": "last", "evaluate_every": 0})
    return config
