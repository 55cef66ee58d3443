"""Fine-tuning on SQuAD: the recipe that Google's MobileBERT code gives, inside the paper's grid.

    mobilebert finetune --task=squad2 --model=models/mobilebert --dataset=train-v2.0.json --workdir=runs/squad2

The arguments after the colon are the task and, for a model with fewer positions than 384, the length of a window; the
command line gives both by itself. Batches of 32, a learning rate of 4e-5, 5 epochs.
"""

from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.utils.errors import UserError

TASKS = ("squad1", "squad2")
LEAST = 16


def get_config(arguments="squad2"):
    """The config of one task; `squad2,128` has windows of 128 tokens."""
    task, _, length = arguments.partition(",")
    if task not in TASKS:
        raise UserError(f"configs/squad.py:{arguments}: no preset of that name; there are {', '.join(TASKS)}")
    if length and not (length.isdecimal() and int(length) >= LEAST):
        raise UserError(f"configs/squad.py:{arguments}: {length!r} is no length of a window; at least {LEAST} tokens")
    config = default_config()
    tokens = int(length or config.finetune.sequence_length)
    # Where bfloat16 is faster, --config.model.student.dtype=bfloat16.
    config.model.student.dtype = "float32"
    config.finetune.update({"batch_size": 32, "epochs": 5.0, "log_every": 20})
    # Shorter windows keep the proportions.
    config.finetune.update({"sequence_length": tokens, "doc_stride": tokens // 3, "max_query_length": tokens // 6})
    # Once an epoch.
    config.finetune.update({"evaluate_every": 0, "save_every": 0})
    config.finetune.optimizer.learning_rate = 4e-5
    return config
