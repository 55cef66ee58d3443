"""Ways to make a step fit: tried from the least costly on, and only those that are possible."""

from types import SimpleNamespace

import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.recipes.plan_fit import ways, what_fits

ON_256 = SimpleNamespace(batch_shards=256)


def test_more_microbatches_come_first_then_forgetting_activations_then_both():
    found = list(ways(load_config("mobilebert", []), "teacher", ON_256))
    assert found == [
        {"teacher.accumulation": 2},
        {"teacher.accumulation": 4},
        {"teacher.accumulation": 8},
        {"model.teacher.remat": "full"},
        {"teacher.accumulation": 8, "model.teacher.remat": "full"},
    ]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (["distill.batch_size=256"], [{"model.student.remat": "full"}]),
        (["distill.batch_size=256", "model.student.remat=full"], []),
        (
            ["distill.batch_size=1536", "distill.accumulation=3", "model.student.remat=full"],
            [{"distill.accumulation": 6}],
        ),
    ],
)
def test_a_batch_is_only_split_as_far_as_it_goes(changes, found):
    assert list(ways(load_config("mobilebert", changes), "distill", ON_256)) == found


@pytest.mark.parametrize(
    ("fitting", "said"),
    [
        (lambda config: config.teacher.accumulation >= 4, "it fits with --config.teacher.accumulation=4"),
        (lambda config: config.model.teacher.remat == "full", "it fits with --config.model.teacher.remat=full"),
        (
            lambda config: config.model.teacher.remat == "full" and config.teacher.accumulation == 8,
            "it fits with --config.teacher.accumulation=8 --config.model.teacher.remat=full",
        ),
    ],
)
def test_the_first_that_fits_is_named(fitting, said):
    config = load_config("mobilebert", [])
    assert what_fits(config, "teacher", ON_256, fitting) == said
    assert config.teacher.accumulation == 1


def test_where_nothing_fits_all_that_was_tried_is_named():
    config = load_config("mobilebert", ["distill.batch_size=256"])
    said = what_fits(config, "distill", ON_256, lambda changed: False)
    assert said.startswith("nor does it with --config.model.student.remat=full: take more devices, or a preset")
    config = load_config("mobilebert", ["distill.batch_size=256", "model.student.remat=full"])
    assert what_fits(config, "distill", ON_256, lambda changed: False).startswith("take more devices")
