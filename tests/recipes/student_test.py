"""What the student starts from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
from mobilebert_jax.recipes.settings import phase_seed
from mobilebert_jax.recipes.student import Teacher, fitted_norm, initial_student
from mobilebert_jax.training.walks import embed
from mobilebert_jax.utils.trees import named_leaves

TEACHER = ModelConfig.test_teacher()
BATCH = {
    "input_ids": np.random.default_rng(0).integers(5, 60, (4, 12)),
    "attention_mask": (np.arange(12) < np.array([[12], [9], [5], [2]])).astype(np.int32),
    "token_type_ids": np.zeros((4, 12), np.int32),
}


@pytest.fixture(autouse=True)
def without_compiling(monkeypatch):
    """Initial values do not matter here, only which leaves are replaced."""
    monkeypatch.setattr("mobilebert_jax.recipes.student.init_params", random_params)


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
    student, given = (
        named_leaves(tree) for tree in (initial_student(config, cfg, teacher, lambda step: BATCH), teacher.params)
    )
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
    student = initial_student(config, ModelConfig.test_student(), teacher, lambda step: BATCH)
    for name, leaf in named_leaves(student).items():
        given = named_leaves(teacher.params).get(name)
        assert given is None or leaf.unsafe_buffer_pointer() != given.unsafe_buffer_pointer()


def test_a_fitted_norm_is_the_least_squares_of_every_feature():
    rng = np.random.default_rng(1)
    before, wanted = rng.normal(2, 0.1, (4, 12, 3)), rng.normal(size=(4, 12, 3))
    mask = BATCH["attention_mask"]
    fitted = fitted_norm(jnp.asarray(before, jnp.float32), jnp.asarray(wanted, jnp.float32), mask)
    for feature in range(3):
        slope, offset = np.polyfit(before[mask > 0][:, feature], wanted[mask > 0][:, feature], 1)
        np.testing.assert_allclose(fitted["scale"][feature], slope, rtol=1e-3)
        np.testing.assert_allclose(fitted["bias"][feature], offset, rtol=1e-3)


def test_a_feature_that_never_varies_keeps_its_scale():
    fitted = fitted_norm(jnp.full((1, 2, 1), 3.0), jnp.array([[[4.0], [6.0]]]), jnp.ones((1, 2), jnp.int32))
    assert (fitted["scale"].item(), fitted["bias"].item()) == (1.0, 2.0)


def test_with_a_fitted_norm_the_student_starts_near_the_teachers_embeddings(config):
    cfg, teacher = ModelConfig.test_student(), make_teacher()
    seen = BATCH["attention_mask"] > 0
    wanted = embed(TEACHER, teacher.params["encoder"]["embeddings"], BATCH)[seen]
    distance = {}
    for copy in (("embeddings",), ("embeddings", "norm")):
        config.transfer.copy = copy
        student = initial_student(config, cfg, teacher, lambda step: BATCH)
        distance[copy] = float(jnp.abs(embed(cfg, student["encoder"]["embeddings"], BATCH)[seen] - wanted).mean())
    assert distance["embeddings", "norm"] < 0.5 * distance["embeddings",]
    assert np.isfinite(distance["embeddings", "norm"])


def test_a_layer_norm_student_copies_its_norm_instead(config):
    config.transfer.copy = ("embeddings", "norm")
    copied = taken_over(config, ModelConfig.test_student(normalization_type="layer_norm"), make_teacher())
    assert "encoder/embeddings/norm/scale" in copied
