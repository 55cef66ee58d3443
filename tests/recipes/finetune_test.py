"""Model folders as they come: with another head, without pooler, with a tokenizer that does not fit."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.recipes.encoders import read_encoder
from mobilebert_jax.recipes.evaluate import load_answerer
from mobilebert_jax.recipes.finetune import finetune_phase
from mobilebert_jax.recipes.questions import load_question_sets
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.trees import named_leaves


@pytest.fixture(scope="module")
def tokenizer(tiny_run):
    return train_tokenizer([(tiny_run.folder / "corpus.txt").read_text()], 100)


def save(folder, cfg, head, tokenizer):
    """A model folder of random parameters, which are returned."""
    rng = np.random.default_rng(0)
    model = build_model(cfg, head)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), abstract_params(model))
    save_pretrained(folder, model, params, tokenizer)
    return params


def small(config):
    config.finetune.update({"sequence_length": 24, "doc_stride": 8, "max_query_length": 8, "batch_size": 4})
    return config


@pytest.mark.parametrize("head", [None, "pretraining", "qa"])
def test_the_encoder_of_any_folder_is_what_is_trained_on(config, tmp_path, tokenizer, tiny_run, head):
    cfg = ModelConfig.test_student(vocab_size=tokenizer.vocab_size)
    saved = save(tmp_path / "m", cfg, head, tokenizer)
    found, encoder, _ = read_encoder(small(config), tmp_path / "m")
    assert found == cfg.replace(dtype=config.model.student.dtype)
    expected = named_leaves(saved["encoder"] if head else saved)
    assert named_leaves(encoder).keys() == expected.keys()
    assert all(np.array_equal(leaf, expected[name]) for name, leaf in named_leaves(encoder).items())

    config.finetune.questions = str(tiny_run.folder / "questions.json")
    train = load_question_sets(config.finetune, "squad2").train
    phase = finetune_phase(config, found, encoder, tokenizer, train)
    begun = jax.eval_shape(phase.init)
    assert begun["encoder"].keys() == encoder.keys() and begun["span"]["kernel"].shape == (32, 2)
    batch = next(phase.batches(3, 4)).batch
    assert batch["input_ids"].shape == (4, 24) and batch["start_positions"].shape == (4,)
    short = [dataclasses.replace(train[0], question="a?", passage="a", answers=())]
    for bucketing, length in ((False, 24), (True, 8)):
        config.finetune.bucketing = bucketing
        batch = next(finetune_phase(config, found, encoder, tokenizer, short).batches(0, 1)).batch
        assert batch["input_ids"].shape == (4, length)


def test_a_pooler_is_not_missed(config, tmp_path, tokenizer, tiny_run):
    cfg = ModelConfig.test_teacher(vocab_size=tokenizer.vocab_size)
    save(tmp_path / "m", cfg, "qa", tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, encoder, _ = read_encoder(small(config), tmp_path / "m")
        assert load_answerer(tmp_path / "m").sequence_length == 24
    config.finetune.questions = str(tiny_run.folder / "questions.json")
    train = load_question_sets(config.finetune, "squad2").train
    begun = jax.eval_shape(finetune_phase(config, found, encoder, tokenizer, train).init)
    assert begun["encoder"].keys() == {"embeddings", "layers"}


def test_a_span_head_is(tmp_path, tokenizer):
    save(tmp_path / "m", ModelConfig.test_student(vocab_size=tokenizer.vocab_size), None, tokenizer)
    with pytest.raises(UserError, match="no span head in it, it cannot answer questions yet"):
        load_answerer(tmp_path / "m")


def test_a_folder_that_does_not_fit_itself_or_the_config_is_refused(config, tmp_path, tokenizer):
    save(tmp_path / "m", ModelConfig.test_student(vocab_size=tokenizer.vocab_size - 1), None, tokenizer)
    with pytest.raises(UserError, match=f"the tokenizer has {tokenizer.vocab_size} pieces, the model only"):
        read_encoder(small(config), tmp_path / "m")
    save(tmp_path / "m", ModelConfig.test_student(vocab_size=tokenizer.vocab_size), None, tokenizer)
    config.finetune.sequence_length = 25
    with pytest.raises(UserError, match=r"finetune\.sequence_length=25: .*max_position_embeddings is 24"):
        read_encoder(config, tmp_path / "m")
    save(tmp_path / "bare", ModelConfig.test_student(), None, None)
    with pytest.raises(UserError, match=r"holds neither tokenizer\.json nor vocab\.txt"):
        read_encoder(small(config), tmp_path / "bare")
