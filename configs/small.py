"""A small student from real text: four blocks in under an hour on two CPU cores, or six wider ones in minutes on a GPU.

    mobilebert run --config=configs/small.py --config.data.corpus='texts/*.txt' --workdir=runs/small
    mobilebert run --config=configs/small.py:wide --config.data.corpus='texts/*.txt' --workdir=runs/wide

Large enough for attention to matter, small enough to train several: `mobilebert bench strategies`.
"""

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.recipes.defaults import default_config, model_fields
from mobilebert_jax.utils.errors import UserError

SHARED = {
    "max_position_embeddings": 256,
    "zero_pad_embeddings": True,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02,
    "embedding_size": 64,
}
SIZES = {
    "": {"num_hidden_layers": 4, "hidden_size": 128, "scan_unroll": 4},
    "wide": {"num_hidden_layers": 6, "hidden_size": 256, "dtype": "bfloat16"},
}
TEACHER = {
    "": {"intra_bottleneck_size": 192, "intermediate_size": 384},
    "wide": {"intra_bottleneck_size": 320, "intermediate_size": 1280},
}
# Narrow layers without norms need larger weights to keep the scale of what passes through them.
STUDENT = {
    "": {"intra_bottleneck_size": 64, "intermediate_size": 128, "initializer_range": 0.1},
    "wide": {"intra_bottleneck_size": 64, "intermediate_size": 256, "initializer_range": 0.06},
}
STEPS = {
    "": {"teacher": 4000, "transfer": 800, "distill": 2000, "finetune": 1500},
    "wide": {"teacher": 15_000, "transfer": 600, "distill": 3000, "finetune": 3000},
}
BATCH = {"": 16, "wide": 64}

GLUE_EPOCHS = {"cola": 4.0, "sst2": 2.0, "mrpc": 4.0, "stsb": 8.0, "rte": 4.0}


def get_config(size=""):
    """Teacher and student of one depth; sentence pairs of 128 tokens, windows of 256 for questions and passages."""
    if size not in SIZES:
        raise UserError(f"configs/small.py:{size}: no argument of that name; there is wide")
    config = default_config()
    shared = SHARED | SIZES[size]
    config.model.teacher = model_fields(ModelConfig.ib_bert_large(**shared | TEACHER[size]))
    config.model.student = model_fields(ModelConfig.mobilebert(**shared | STUDENT[size]))
    config.data.update({"vocab_size": 8192, "tokenizer_sample": 20_000_000})
    for name in ("teacher", "transfer", "distill"):
        config[name].update({"batch_size": BATCH[size], "sequence_length": 128, "max_predictions": 20})
        # Small batches: AdamW gets further than LAMB, which is made for large ones.
        config[name].optimizer.update({"name": "adamw", "learning_rate": 2e-3, "bias_correction": True})
    config.transfer.optimizer.name = "lamb"
    config.transfer.copy = ("embeddings", "norm", "heads")
    config.finetune.update({"batch_size": 32, "sequence_length": 256, "doc_stride": 96})
    config.finetune.optimizer.update({"learning_rate": 1e-3, "bias_correction": True})
    for name, steps in STEPS[size].items():
        config[name].update({"steps": steps, "log_every": 20, "evaluate_batches": 32})
        config[name].update({"evaluate_every": 200, "save_every": 500})
        config[name].optimizer.warmup_steps = 0 if name == "transfer" else steps // 10
    config.teacher.evaluate_every = 1000
    # Scored once, at the end.
    config.finetune.update({"select": "last", "evaluate_every": 0})
    # What --config.glue.dataset=FOLDER adds to a run. Small models want a far larger rate than large ones.
    config.glue.tasks = tuple(GLUE_EPOCHS)
    config.glue.update({task: (32, 5e-4, epochs) for task, epochs in GLUE_EPOCHS.items()})
    return config
