"""Work counted in multiply-adds, against what the compiler counts in the same steps."""

import dataclasses

import jax
import pytest

from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.recipes.settings import PHASES, model_config
from mobilebert_jax.recipes.work import recipe_work

VOCABULARY = 512


@pytest.fixture
def small(config):
    """Both networks with 3 blocks, wide enough that products of matrices are most of the work."""
    for which, inner in (("teacher", 128), ("student", 64)):
        config.model[which].update({"num_hidden_layers": 3, "hidden_size": 128, "embedding_size": 64})
        config.model[which].update({"intra_bottleneck_size": inner, "intermediate_size": 2 * inner})
    for name in PHASES:
        config[name].update({"batch_size": 8, "sequence_length": 64, "steps": 31})
    config.finetune.questions = "questions.json"
    return config


def work(config, phases=PHASES):
    networks = (model_config(config, which, VOCABULARY) for which in ("teacher", "student"))
    return recipe_work(config, phases, *networks)


def compiled_forward(cfg, batch, length, predictions):
    """Multiply-adds of one forward pass as XLA counts them, its blocks unrolled since it counts a loop's body once."""
    model = build_model(dataclasses.replace(cfg, scan_unroll=cfg.num_hidden_layers), "pretraining")
    ids = jax.ShapeDtypeStruct((batch, length), "int32")
    at = jax.ShapeDtypeStruct((batch, predictions), "int32")
    forward = jax.jit(lambda params, ids, at: model.apply({"params": params}, ids, ids, ids, at))
    return forward.lower(abstract_params(model), ids, at).cost_analysis()["flops"] / 2


def test_every_phase_has_its_stages_in_order(small):
    made = work(small)
    assert list(made) == list(PHASES)
    assert [steps for steps, _ in made["transfer"]] == [10, 10, 11]
    assert {name: sum(steps for steps, _ in stages) for name, stages in made.items()} == dict.fromkeys(PHASES, 31)


def test_a_forward_pass_counts_what_the_compiler_counts(small):
    predictions = small.teacher.max_predictions
    for which, phase in (("teacher", "teacher"), ("student", "distill")):
        counted = compiled_forward(model_config(small, which, VOCABULARY), 8, 64, predictions)
        own = work(small)["teacher"][0][1] / 3
        if phase == "distill":
            own = (work(small)["distill"][0][1] - own) / 3
        assert own == pytest.approx(counted, rel=0.15), which


def test_upper_blocks_cost_more_and_soft_freezing_more_still(small):
    hard = [each for _, each in work(small)["transfer"]]
    small.transfer.lower_rate = 0.3
    soft = [each for _, each in work(small)["transfer"]]
    assert hard == sorted(hard) and soft == sorted(soft)
    assert soft[0] == hard[0] and soft[2] > hard[2]
    small.transfer.strategy = "joint"
    assert [each for _, each in work(small)["transfer"]] == [soft[2]]


def test_what_is_not_done_is_not_counted(small):
    assert list(work(small, ("transfer", "distill"))) == ["transfer", "distill"]
    small.transfer.strategy = "auxiliary"
    small.finetune.questions = ""
    small.teacher.path = "a/teacher"
    assert list(work(small)) == ["distill"]
