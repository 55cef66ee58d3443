"""What a teacher starts from: fresh weights, or those of a model folder with fresh blocks on top of its own."""

from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.folder_config import CONFIG, RUN_TIME_FIELDS, read_folder_config
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.types import Params

MAY_DIFFER = (
    *RUN_TIME_FIELDS,
    "num_hidden_layers",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "initializer_range",
)
"""Fields in which a teacher and the model that it starts from need not agree."""


def extended(given: Params, fresh: Params) -> Params:
    """The parameters `given`, with those of `fresh` for the blocks above its own.

    Fresh blocks are nearly the identity where norms follow sums, so what lies below them stays useful. Many of them
    from the very start are not: they learn how frequent each piece is, and no more for long.
    """

    def taken(given: jax.Array, fresh: jax.Array) -> jax.Array:
        return jnp.concatenate([given, fresh[len(given) :]])

    layers = jax.tree.map(taken, given["encoder"]["layers"], fresh["encoder"]["layers"])
    return {**given, "encoder": {**given["encoder"], "layers": layers}}


def check_start(config: ConfigDict, cfg: ModelConfig, words: bool = True) -> None:
    """UserError unless the teacher may start from the folder `teacher.start`; `words`: its vocabulary counts, too."""
    path = config.teacher.start
    if not Path(path, CONFIG).is_file():
        raise UserError(f"teacher.start={path}: no model folder there")
    given = read_folder_config(Path(path, CONFIG)).cfg
    allowed = MAY_DIFFER if words else (*MAY_DIFFER, "vocab_size")
    for name, own in cfg.to_dict().items():
        if name not in allowed and own != getattr(given, name):
            raise UserError(f"teacher.start={path}: its {name} is {getattr(given, name)}, the teacher's {own}")
    if given.num_hidden_layers > cfg.num_hidden_layers:
        raise UserError(
            f"teacher.start={path}: has {given.num_hidden_layers} blocks, more than the {cfg.num_hidden_layers} of "
            "model.teacher.num_hidden_layers"
        )
