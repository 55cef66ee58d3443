"""Making, changing and comparing model folders."""

import json

import numpy as np
import safetensors.numpy

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.utils.trees import named_leaves
from tests.models.model_cases import VARIANTS, random_params

CFG = VARIANTS["mobilebert"]


def assert_same(found, expected):
    found, expected = named_leaves(found), named_leaves(expected)
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)


def saved(path, cfg=CFG, head="pretraining", **options):
    model = build_model(cfg, head, **options)
    params = random_params(model)
    save_pretrained(path, model, params)
    return model, params


def edit_tensors(path, change):
    """Rewrites the folder's tensors after `change(tensors)`."""
    tensors = safetensors.numpy.load_file(path / "model.safetensors")
    change(tensors)
    safetensors.numpy.save_file(tensors, path / "model.safetensors")


def edit_config(path, **changes):
    """Rewrites the folder's config; None deletes."""
    values = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps({name: v for name, v in values.items() if v is not None}))
