"""What the student starts from, and which program trains which stage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.recipes.phases import Teacher, initial_student, transfer_programs
from mobilebert_jax.recipes.plans import transfer_plan
from mobilebert_jax.recipes.settings import phase_seed
from mobilebert_jax.training.transfer import Transfer
from mobilebert_jax.training.walks import Pair
from mobilebert_jax.utils.trees import named_leaves

TEACHER = ModelConfig.test_teacher()


@pytest.fixture(autouse=True)
def without_compiling(monkeypatch):
    """Initial values do not matter here, only which leaves are replaced."""
    monkeypatch.setattr("mobilebert_jax.recipes.phases.init_params", random_params)


def random_params(model, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32),
        jax.eval_shape(lambda: init_params(model, 0)),
    )


def make_teacher(cfg=TEACHER):
    return Teacher(cfg, random_params(build_model(cfg, "pretraining"), 100), {})


def taken_over(config, cfg, teacher):
    """Names of the student's leaves that are bit-equal to the teacher's; the others are those of a fresh student."""
    student, given = (named_leaves(tree) for tree in (initial_student(config, cfg, teacher), teacher.params))
    fresh = named_leaves(random_params(build_model(cfg, "pretraining"), phase_seed(config, "transfer")))
    copied = {name for name in student if name in given and np.array_equal(student[name], given[name])}
    assert student.keys() == fresh.keys()
    assert all(np.array_equal(student[name], fresh[name]) for name in student if name not in copied)
    return copied


def test_embeddings_and_heads_come_from_the_teacher_bit_for_bit(config):
    copied = taken_over(config, ModelConfig.test_student(), make_teacher())
    parts = {"/".join(name.split("/")[:3]) for name in copied if name.startswith("encoder/")}
    assert parts == {
        f"encoder/embeddings/{part}"
        for part in ("word_embeddings", "position_embeddings", "token_type_embeddings", "embedding_transformation")
    }
    names = named_leaves(make_teacher().params)
    assert {name for name in copied if not name.startswith("encoder/")} == {
        name for name in names if name.startswith(("masked_lm/", "next_sentence/"))
    }


def test_a_norm_is_taken_over_between_norms_of_one_kind_only(config):
    no_norm, layer_norm = ModelConfig.test_student(), ModelConfig.test_student(normalization_type="layer_norm")
    for cfg, expected in ((no_norm, False), (layer_norm, True)):
        copied = taken_over(config, cfg, make_teacher())
        assert any(name.startswith("encoder/embeddings/norm") for name in copied) is expected


def test_the_pooler_and_the_blocks_are_fresh(config):
    cfg = ModelConfig.test_student(classifier_activation=True)
    copied = taken_over(config, cfg, make_teacher())
    assert any("pooler" in name for name in named_leaves(random_params(build_model(cfg, "pretraining"), 0)))
    assert not any("pooler" in name or "layers" in name for name in copied)


def test_parts_of_another_shape_stay_fresh(config):
    copied = taken_over(config, ModelConfig.test_student(embedding_size=8), make_teacher())
    assert "encoder/embeddings/position_embeddings/embedding" in copied
    assert "encoder/embeddings/word_embeddings/embedding" not in copied
    assert not any(name.startswith("masked_lm/") for name in copied)


@pytest.mark.parametrize(("copy", "embeddings", "heads"), [((), 0, 0), (("heads",), 0, 1), (("embeddings",), 1, 0)])
def test_the_config_says_what_is_copied(config, copy, embeddings, heads):
    config.transfer.copy = copy
    copied = taken_over(config, ModelConfig.test_student(), make_teacher())
    assert any(name.startswith("encoder/embeddings/") for name in copied) == bool(embeddings)
    assert any(name.startswith("masked_lm/") for name in copied) == bool(heads)


def test_the_copy_is_the_student_s_own(config):
    teacher = make_teacher()
    student = initial_student(config, ModelConfig.test_student(), teacher)
    for name, leaf in named_leaves(student).items():
        given = named_leaves(teacher.params).get(name)
        assert given is None or leaf.unsafe_buffer_pointer() != given.unsafe_buffer_pointer()


@pytest.mark.parametrize(
    ("changes", "kinds", "programs"),
    [
        ({}, ["block"] * 3, 1),
        ({"lower_rate": 0.3}, ["block", "prefix", "prefix"], 2),
        ({"strategy": "joint"}, ["pair"], 1),
    ],
)
def test_stages_of_one_kind_share_one_program(config, changes, kinds, programs):
    config.transfer.update(changes)
    plan = transfer_plan(config, 3)
    pair = Pair(TEACHER, ModelConfig.test_student(), (0, 1, 2))
    made = transfer_programs(plan, Transfer(pair, plan.stages[0].coefficients))
    assert [program.name for program in made] == kinds
    assert len({id(program) for program in made}) == programs
