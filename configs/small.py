"""A small student from real text in about an hour on two CPU cores: eight thousand word pieces, four blocks.

    mobilebert run --config=configs/small.py --config.data.corpus='texts/*.txt' --workdir=runs/small

Large enough for attention to matter, small enough to train several: `mobilebert bench strategies`.

Argument, after a colon: `deep`, twelve blocks, narrower and with shorter texts, where it shows how transfer climbs from
block to block: `mobilebert bench quality`. Its teacher starts from that of `bare`, which has no blocks, and goes on
without next sentences until attention matters:

    mobilebert pretrain --config=configs/small.py:bare --config.data.corpus='texts/*.txt' --workdir=runs/bare
    mobilebert pretrain --config=configs/small.py:deep --config.data.store=runs/bare/data \
        --config.teacher.start=runs/bare/teacher/model --workdir=runs/pairs
    mobilebert pretrain --config=configs/small.py:deep --config.data.store=runs/bare/data --config.data.packing=true \
        --config.teacher.next_sentence=0 --config.distill.next_sentence=0 --config.teacher.steps=9000 \
        --config.teacher.optimizer.warmup_steps=300 --config.teacher.start=runs/pairs/teacher/model --workdir=runs/deep
"""

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.recipes.defaults import default_config, model_fields
from mobilebert_jax.utils.errors import UserError

SIZES = {
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "embedding_size": 64,
    "max_position_embeddings": 256,
    "zero_pad_embeddings": True,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "scan_unroll": 4,
}
STEPS = {"teacher": 8000, "transfer": 800, "distill": 2000, "finetune": 1500}
DEEP_STEPS = {"teacher": 3000, "transfer": 1800, "distill": 200, "finetune": 150}

GLUE_EPOCHS = {"cola": 4.0, "sst2": 2.0, "mrpc": 4.0, "stsb": 8.0, "rte": 4.0}


def get_config(argument=""):
    """Teacher and student of 4 blocks; sentence pairs of 128 tokens, windows of 256 for questions and passages."""
    if argument not in ("", "deep", "bare"):
        raise UserError(f"configs/small.py:{argument}: no argument {argument!r}; there are deep and bare")
    config = default_config()
    config.model.teacher = model_fields(
        ModelConfig.ib_bert_large(intra_bottleneck_size=192, intermediate_size=384, **SIZES)
    )
    # Narrow layers without norms need larger weights to keep the scale of what passes through them.
    config.model.student = model_fields(
        ModelConfig.mobilebert(intra_bottleneck_size=64, intermediate_size=128, initializer_range=0.1, **SIZES)
    )
    config.data.update({"vocab_size": 8192, "tokenizer_sample": 20_000_000})
    for name in ("teacher", "transfer", "distill"):
        config[name].update({"batch_size": 16, "sequence_length": 128, "max_predictions": 20})
        # Small batches: AdamW gets further than LAMB, which is made for large ones.
        config[name].optimizer.update({"name": "adamw", "learning_rate": 2e-3, "bias_correction": True})
    # Five times the students' rate: with less its gradients grow all along and attention comes late.
    config.teacher.optimizer.learning_rate = 1e-2
    config.transfer.optimizer.name = "lamb"
    config.transfer.copy = ("embeddings", "norm", "heads")
    config.finetune.update({"batch_size": 32, "sequence_length": 256, "doc_stride": 96})
    config.finetune.optimizer.update({"learning_rate": 1e-3, "bias_correction": True})
    for name, steps in STEPS.items():
        config[name].update({"steps": steps, "log_every": 20, "evaluate_batches": 32})
        config[name].update({"evaluate_every": 200, "save_every": 500})
        config[name].optimizer.warmup_steps = 0 if name == "transfer" else steps // 10
    config.teacher.evaluate_every = 1000
    # Scored once, at the end.
    config.finetune.update({"select": "last", "evaluate_every": 0})
    # What --config.glue.dataset=FOLDER adds to a run. Small models want a far larger rate than large ones.
    config.glue.tasks = tuple(GLUE_EPOCHS)
    config.glue.update({task: (32, 5e-4, epochs) for task, epochs in GLUE_EPOCHS.items()})
    if argument:
        deepen(config)
    if argument == "bare":
        config.model.teacher.num_hidden_layers = 0
        config.transfer.strategy = "none"
        config.teacher.steps = 5000
        config.teacher.optimizer.update({"learning_rate": 4e-3, "warmup_steps": 500})
    return config


def deepen(config):
    """Twelve blocks, narrower, with shorter texts and fewer word pieces: all ways of transfer in hours."""
    # Attention is worth more between pieces of words, and comes sooner.
    config.data.vocab_size = 2048
    config.model.teacher.update({"num_hidden_layers": 12, "intra_bottleneck_size": 128, "intermediate_size": 256})
    config.model.student.update({"num_hidden_layers": 12, "intra_bottleneck_size": 48, "intermediate_size": 96})
    # What four blocks double, twelve would blow up thirtyfold with 0.1.
    config.model.student.initializer_range = 0.07
    for name, steps in DEEP_STEPS.items():
        config[name].steps = steps
        config[name].optimizer.warmup_steps = 0 if name == "transfer" else steps // 10
    for name in ("teacher", "transfer", "distill"):
        config[name].update({"batch_size": 32, "sequence_length": 64, "max_predictions": 10})
    config.teacher.optimizer.learning_rate = 1.5e-3
    config.transfer.update({"evaluate_every": 50, "evaluate_batches": 4})
    # Half and double of it are worse for progressive transfer, which lacks the steps for a smaller one.
    config.transfer.optimizer.learning_rate = 4e-3
    config.finetune.update({"sequence_length": 128, "doc_stride": 64, "batch_size": 16})
    config.finetune.optimizer.learning_rate = 2e-3
    # What transfer has reached is nearly the teacher's level; four times the rate leads away from there.
    config.distill.optimizer.learning_rate = 5e-4
