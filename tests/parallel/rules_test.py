"""Presets are data over the models' own axis names, and a name that no model has is an error."""

import jax
import pytest

from mobilebert_jax.models.config import ModelConfig, preset
from mobilebert_jax.models.heads import MODELS, build_model
from mobilebert_jax.models.initialise import abstract_params, logical_axes
from mobilebert_jax.parallel.rules import AXES, NAMES, PRESETS, Preset
from mobilebert_jax.parallel.rules import preset as named
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import named_leaves


@pytest.mark.parametrize("head", MODELS)
@pytest.mark.parametrize("model", ["test_teacher", "test_student", "bert_base"])
def test_every_parameter_names_each_of_its_axes(head, model):
    built = build_model(preset(model, num_hidden_layers=2), head)
    axes, shapes = logical_axes(built), abstract_params(built)
    assert jax.tree.structure(axes, is_leaf=lambda leaf: isinstance(leaf, tuple)) == jax.tree.structure(shapes)
    for name, leaf in named_leaves(shapes).items():
        own = axes
        for part in name.split("/"):
            own = own[part]
        assert len(own) == len(leaf.shape), name
        assert {*own} <= NAMES, name


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"embedding": "fsdp"}, "logical axis 'embedding': no such name; there are batch, classes"),
        ({"layers": "fsdp"}, "sharding rule layers -> fsdp: the layers axis is never split"),
        ({"batch": "data"}, "sharding rule batch -> data: the batch axis is never split by a rule"),
        ({"embed": "model"}, f"sharding rule embed -> model: no such mesh axis; there are {', '.join(AXES)}"),
    ],
)
@pytest.mark.parametrize("table", ["stored", "computed"])
def test_a_rule_that_cannot_be_is_refused(table, rules, says):
    with pytest.raises(UserError) as error:
        Preset(**{table: rules})
    assert str(error.value).startswith(says)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(UserError, match=r"^mesh.preset='zero': must be one of dp, fsdp, tensor, fsdp_tensor$"):
        named("zero")


def test_a_preset_splits_every_large_matrix_of_the_papers_models():
    for cfg in (ModelConfig.ib_bert_large(), ModelConfig.mobilebert()):
        model = build_model(cfg, "pretraining")
        for name, leaf in named_leaves(abstract_params(model)).items():
            if leaf.size >= 1 << 20:
                own = logical_axes(model)
                for part in name.split("/"):
                    own = own[part]
                assert {*own} & {*PRESETS["fsdp"].stored}, name
