"""Fine-tuning on GLUE, or on labels of your own: one preset a task, out of the paper's grid.

    mobilebert finetune --task=rte --model=models/mobilebert --dataset=glue --workdir=runs/rte

The argument after the colon is the task; the command line gives it by itself. The paper's grid (section 4.4): batches
of 16, 32 and 48, learning rates of 1e-5 to 1e-4, 2 to 10 epochs.
"""

from mobilebert_jax.recipes.defaults import default_config
from mobilebert_jax.recipes.glue import task_settings
from mobilebert_jax.utils.errors import UserError

# Of labels that are not GLUE's; the diagnostic set is for a model of mnli.
LIKE = {"ax": "mnli", "classification": "qnli", "regression": "qnli", "tokens": "qnli"}


def get_config(arguments="classification"):
    """The config of one task."""
    config = default_config()
    known = (*config.glue.tasks, *LIKE)
    if arguments not in known:
        raise UserError(f"configs/glue.py:{arguments}: no preset of that name; there are {', '.join(known)}")
    # The sets are small; where bfloat16 is faster, --config.model.student.dtype=bfloat16.
    config.model.student.dtype = "float32"
    config.finetune.update(task_settings(config, LIKE.get(arguments, arguments)))
    config.finetune.log_every = 20
    if arguments == "tokens":
        config.finetune.update({"text": "tokens", "label": "tags"})
    return config
