"""The whole recipe on a laptop, offline, in minutes: the text and the questions come with Python itself.

mobilebert run --workdir=runs/demo
"""

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.recipes.defaults import default_config, model_fields

SIZES = {
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "embedding_size": 64,
    "max_position_embeddings": 192,
    "zero_pad_embeddings": True,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.05,
}


def get_config():
    """The demo: a teacher of 4 blocks, a student of 4."""
    config = default_config()
    config.model.teacher = model_fields(
        ModelConfig.ib_bert_large(intra_bottleneck_size=192, intermediate_size=512, **SIZES)
    )
    config.model.student = model_fields(
        ModelConfig.mobilebert(intra_bottleneck_size=64, intermediate_size=128, num_feedforward_networks=2, **SIZES)
    )
    config.data.update({"corpus": "builtin:python-docs", "vocab_size": 4096, "heldout_fraction": 0.08})
    for name, steps, batch_size in (("teacher", 1500, 32), ("transfer", 600, 32), ("distill", 500, 32)):
        phase = config[name]
        phase.update({"steps": steps, "batch_size": batch_size, "sequence_length": 64, "max_predictions": 10})
        phase.optimizer.update({"learning_rate": 5e-3, "warmup_steps": steps // 10, "bias_correction": True})
    config.transfer.optimizer.update({"warmup_steps": 0, "learning_rate": 2e-3})
    config.finetune.update({"questions": "builtin:python-docs-qa", "steps": 800, "batch_size": 16})
    config.finetune.update({"sequence_length": 160, "doc_stride": 64, "max_query_length": 32})
    config.finetune.optimizer.update({"learning_rate": 1e-3, "warmup_steps": 80, "bias_correction": True})
    for name in ("teacher", "transfer", "distill", "finetune"):
        config[name].update({"log_every": 20, "evaluate_every": 250, "evaluate_batches": 8, "save_every": 250})
    return config
