import pytest

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.report.parameters import count_parameters, encoder_size
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import named_leaves


@pytest.mark.parametrize(("folder", "head"), [("teacher/model", "pretraining"), ("model", "qa")])
def test_every_parameter_of_a_folder_is_counted_in_a_named_part(complete_run, folder, head):
    counts = count_parameters(complete_run / folder)
    assert "other" not in counts and counts["bottlenecks"] and counts["feed-forward"]
    assert ("answer-span head" in counts) == (head == "qa")
    cfg = ModelConfig.from_dict(folder_config(complete_run / folder))
    leaves = named_leaves(abstract_params(build_model(cfg, head)))
    assert sum(counts.values()) == sum(leaf.size for leaf in leaves.values())


def test_a_folder_without_weights_has_no_size(tmp_path):
    assert encoder_size(tmp_path) is None
    with pytest.raises(UserError, match=r"not a model folder, model.safetensors missing"):
        count_parameters(tmp_path)


def folder_config(folder):
    from mobilebert_jax.models.pretrained import from_pretrained

    return from_pretrained(folder)[0].cfg.to_dict()
