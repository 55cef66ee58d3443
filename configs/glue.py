"""Fine-tuning on GLUE, or on labels of your own: one preset a task, out of the paper's grid.

    mobilebert finetune --task=rte --model=models/mobilebert --dataset=glue --workdir=runs/rte

The argument after the colon is the task; the command line gives it by itself. The paper's grid (section 4.4): batches
of 16, 32 and 48, learning rates of 1e-5 to 1e-4, 2 to 10 epochs.
"""

from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.utils.errors import UserError

# Batch, learning rate, epochs: larger sets need fewer epochs.
PRESETS = {
    "cola": (32, 5e-5, 10),
    "sst2": (32, 3e-5, 5),
    "mrpc": (16, 5e-5, 10),
    "stsb": (16, 5e-5, 10),
    "qqp": (48, 5e-5, 5),
    "mnli": (48, 5e-5, 5),
    "qnli": (32, 5e-5, 5),
    "rte": (16, 5e-5, 10),
    "wnli": (16, 1e-5, 2),
    "ax": (48, 5e-5, 5),
    "classification": (32, 5e-5, 5),
    "regression": (32, 5e-5, 5),
}


def get_config(arguments="classification"):
    """The config of one task."""
    if arguments not in PRESETS:
        raise UserError(f"configs/glue.py:{arguments}: no preset of that name; there are {', '.join(PRESETS)}")
    batch_size, rate, epochs = PRESETS[arguments]
    config = default_config()
    # The sets are small; where bfloat16 is faster, --config.model.student.dtype=bfloat16.
    config.model.student.dtype = "float32"
    config.finetune.update({"batch_size": batch_size, "sequence_length": 128, "epochs": float(epochs)})
    # Once an epoch.
    config.finetune.update({"evaluate_every": 0, "save_every": 0, "log_every": 20})
    config.finetune.optimizer.learning_rate = rate
    return config
