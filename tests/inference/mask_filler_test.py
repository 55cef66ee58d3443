import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mobilebert_jax as mb
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError

WORDS = "the cat sat on a mat while dogs were running through green fields"
TEXTS = ["the [MASK] sat", "dogs were [MASK] through [MASK] fields", "[MASK]"]


def save(folder, head, tokenizer):
    cfg = ModelConfig.test_student(vocab_size=tokenizer.vocab_size, zero_pad_embeddings=True)
    model = build_model(cfg, head)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3, jnp.float32), abstract_params(model)
    )
    save_pretrained(folder, model, params, tokenizer)
    return model, params


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([WORDS], 80)


@pytest.fixture(scope="module")
def saved(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "pretraining"
    return folder, *save(folder, "pretraining", tokenizer)


def test_guesses_are_the_models_likeliest_pieces_at_the_masks_characters(saved, tokenizer):
    folder, model, params = saved
    filler = mb.MaskFiller.from_pretrained(folder, sequence_length=16, batch_size=2)
    filled = filler.fill(TEXTS, top_k=3)
    assert [len(masks) for masks in filled] == [1, 2, 1]
    for text, masks in zip(TEXTS, filled, strict=True):
        assert all(text[mask.start : mask.end] == "[MASK]" for mask in masks)
        (ids,) = tokenizer.ids_batch([text])
        ids = np.array([[tokenizer.cls_id, *ids, tokenizer.sep_id]])
        logits = model.apply({"params": params}, ids, np.ones_like(ids), np.zeros_like(ids)).prediction_logits[0]
        shares = np.asarray(jax.nn.softmax(logits[ids[0] == tokenizer.mask_id]))
        for mask, expected in zip(masks, shares, strict=True):
            best = np.argsort(-expected)[:3]
            assert [guess.id for guess in mask.guesses] == best.tolist()
            assert [guess.piece for guess in mask.guesses] == [tokenizer.pieces[index] for index in best]
            np.testing.assert_allclose([guess.probability for guess in mask.guesses], expected[best], rtol=1e-4)


def test_a_text_s_guesses_are_its_own_whatever_stands_beside_it(saved):
    filler = mb.MaskFiller.from_pretrained(saved[0], sequence_length=16, batch_size=2)
    together = filler.fill([*TEXTS, "[MASK] " * 9])
    for text, masks in zip(TEXTS, together, strict=False):
        (alone,) = dataclasses.replace(filler, batch_size=1).fill([text])
        for one, other in zip(alone, masks, strict=True):
            assert [guess.id for guess in one.guesses] == [guess.id for guess in other.guesses]
            for mine, theirs in zip(one.guesses, other.guesses, strict=True):
                assert mine.probability == pytest.approx(theirs.probability, rel=1e-5)
    assert filler.fill([]) == []


def test_what_cannot_be_filled_is_refused(saved, tokenizer, tmp_path):
    filler = mb.MaskFiller.from_pretrained(saved[0], sequence_length=16)
    for texts, message in (
        ("[MASK]", "a list of texts is needed"),
        (["a [MASK]", "a mat"], r"text 1 has no \[MASK\]"),
        (["the cat " * 9 + "[MASK]"], r"text 0: its last \[MASK\] is token \d+, the model reads 15"),
    ):
        with pytest.raises(UserError, match=message):
            filler.fill(texts)
    with pytest.raises(UserError, match="top_k is 0"):
        filler.fill(TEXTS, top_k=0)
    with pytest.raises(UserError, match=r"sequence_length 25: the model in .* has 24 positions"):
        mb.MaskFiller.from_pretrained(saved[0], sequence_length=25)
    save(tmp_path / "qa", "qa", tokenizer)
    with pytest.raises(UserError, match="no masked-LM head in it"):
        mb.MaskFiller.from_pretrained(tmp_path / "qa")
