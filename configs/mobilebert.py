"""The paper's run: IB-BERT_LARGE teacher, progressive transfer, distillation.

    mobilebert run --config=configs/mobilebert.py --config.data.corpus='corpus/*.txt.zst' --workdir=runs/mobilebert

Arguments, after a colon and combined by commas: `tiny` (MobileBERT_TINY), `no_opt` (LayerNorm and gelu),
`multilingual` (cased, 119,547 words), `soft` (lower blocks keep learning at a tenth), `local` (all blocks learn at
once, each from its own loss), `laptop` (everything small).
"""

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.recipes.defaults import default_config, model_fields
from mobilebert_jax.utils.errors import UserError

ARGUMENTS = ("tiny", "no_opt", "multilingual", "soft", "local", "laptop")


def get_config(arguments=""):
    """The config for comma-separated arguments."""
    config = default_config()
    chosen = [name for name in arguments.split(",") if name]
    for name in chosen:
        if name not in ARGUMENTS:
            raise UserError(
                f"configs/mobilebert.py:{arguments}: no argument {name!r}; there are {', '.join(ARGUMENTS)}"
            )
    if "tiny" in chosen and "no_opt" in chosen:
        raise UserError(f"configs/mobilebert.py:{arguments}: tiny and no_opt are two models, choose one")
    if "soft" in chosen and "local" in chosen:
        raise UserError(f"configs/mobilebert.py:{arguments}: soft and local are two ways of transfer, choose one")
    student = ModelConfig.mobilebert_tiny if "tiny" in chosen else ModelConfig.mobilebert
    if "no_opt" in chosen:
        student = ModelConfig.mobilebert_no_opt
    config.model.student = model_fields(student(zero_pad_embeddings=True, dtype="bfloat16"))
    if "multilingual" in chosen:
        config.data.update({"vocab_size": 119_547, "lowercase": False})
    if "soft" in chosen:
        config.transfer.lower_rate = 0.3
    if "local" in chosen:
        # A step costs a tenth of one for each of the 24 blocks; the last quarter of them is joint.
        config.transfer.update({"strategy": "local", "steps": 20_000, "joint_share": 0.25})
        # Fed by the teacher, no block waits for those below it; joint steps then make the walk the student's own.
        config.transfer.teacher_fed = (1.0, 0.5)
        # Blocks that all learn at once settle as the rate falls, from a higher one than stages of one block bear.
        config.transfer.block_rate = 6.0
        config.transfer.optimizer.end_ratio = 1e-4
    if "laptop" in chosen:
        shrink(config)
        if "local" in chosen:
            # Each step trains all four blocks; a teacher that has learnt this little does not feed them.
            config.transfer.update({"steps": 160, "block_rate": 4.5, "teacher_fed": (0.0, 0.0)})
    # Scored once, at the end; to choose on a dev set, `mobilebert finetune` with configs/squad.py.
    config.finetune.update({"select": "last", "evaluate_every": 0})
    return config


def shrink(config):
    """Every phase of the recipe in minutes on two CPU cores; the structure of the models stays."""
    sizes = {"num_hidden_layers": 4, "hidden_size": 128, "dtype": "float32", "max_position_embeddings": 384}
    sizes.update({"initializer_range": 0.05, "scan_unroll": 4})
    config.model.teacher.update({**sizes, "intra_bottleneck_size": 192, "intermediate_size": 512})
    config.model.student.update({**sizes, "intra_bottleneck_size": 64, "intermediate_size": 128})
    config.model.teacher.embedding_size = config.model.student.embedding_size = 64
    config.model.teacher.update({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    config.model.student.attention_probs_dropout_prob = 0.0
    for phase, steps, batch_size in (("teacher", 1000, 32), ("transfer", 400, 32), ("distill", 400, 32)):
        config[phase].update({"steps": steps, "batch_size": batch_size, "sequence_length": 64, "max_predictions": 10})
        config[phase].optimizer.update({"learning_rate": 2e-3, "bias_correction": True, "warmup_steps": steps // 10})
        # A few hundred small batches: AdamW gets further than LAMB, which is made for large ones.
        config[phase].optimizer.name = "lamb" if phase == "transfer" else "adamw"
    config.transfer.optimizer.warmup_steps = 0
    config.finetune.update({"steps": 600, "batch_size": 8, "sequence_length": 256, "doc_stride": 96})
    config.finetune.optimizer.update({"learning_rate": 5e-4, "warmup_steps": 60, "bias_correction": True})
    for phase in ("teacher", "transfer", "distill", "finetune"):
        config[phase].update({"log_every": 20, "evaluate_every": 200, "evaluate_batches": 4, "save_every": 200})
