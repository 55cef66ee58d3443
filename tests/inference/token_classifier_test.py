import jax
import numpy as np
import pytest

import mobilebert_jax as mb
from mobilebert_jax.inference.probabilities import softmax
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError

LABELS = ("B-X", "I-X", "O")
SENTENCES = [["the", "cat"], [], ["dogs", "were", "running"], ["sat"] * 25, ["x"]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(a tagger's folder, one of whole texts' classes) of random weights."""
    root = tmp_path_factory.mktemp("taggers")
    tokenizer = train_tokenizer(["the cat dogs were running sat on"], 60)
    cfg = ModelConfig.test_student(vocab_size=tokenizer.vocab_size, zero_pad_embeddings=True)
    for head in ("token_classification", "classification"):
        model = build_model(cfg, head, num_labels=3, label_names=LABELS)
        rng = np.random.default_rng(0)
        shapes = abstract_params(model)
        params = jax.tree.map(lambda leaf, rng=rng: (0.3 * rng.normal(size=leaf.shape)).astype(np.float32), shapes)
        save_pretrained(root / head, model, params, tokenizer)
    return root / "token_classification", root / "classification"


def test_every_word_has_a_tag_and_entities_are_theirs(folders):
    tagger = mb.TokenClassifier.from_pretrained(folders[0], batch_size=2, sequence_length=16)
    tagged = tagger.predict(SENTENCES)
    assert [[each.word for each in own] for own in tagged] == SENTENCES
    logits = tagger.logits(SENTENCES)
    assert logits.shape == (31, 3)
    flat = [each for own in tagged for each in own]
    assert [each.tag for each in flat] == [LABELS[tag] for tag in logits.argmax(axis=1)]
    np.testing.assert_allclose([each.probability for each in flat], softmax(logits).max(axis=1))
    entities = tagger.find_entities(SENTENCES)
    assert [len(own) for own in entities][1] == 0 and any(entities)
    for sentence, own, tags in zip(SENTENCES, entities, tagged, strict=True):
        for entity in own:
            assert entity.type == "X" and entity.words == tuple(sentence[entity.start : entity.end])
            assert all(each.tag != "O" for each in tags[entity.start : entity.end])
            assert entity.probability == min(each.probability for each in tags[entity.start : entity.end])
        covered = sum(entity.end - entity.start for entity in own)
        assert covered == sum(each.tag != "O" for each in tags)
    assert tagger.predict([]) == []


def test_a_sentence_is_tagged_alike_whatever_stands_beside_it(folders):
    tagger = mb.TokenClassifier.from_pretrained(folders[0], batch_size=3, sequence_length=16)
    together, at = tagger.logits(SENTENCES), 0
    for sentence in SENTENCES:
        np.testing.assert_allclose(tagger.logits([sentence]), together[at : at + len(sentence)], rtol=1e-5, atol=1e-5)
        at += len(sentence)
    eight = mb.TokenClassifier.from_pretrained(folders[0], precision="int8", sequence_length=16).logits(SENTENCES)
    assert 1e-4 < np.linalg.norm(eight - together) / np.linalg.norm(together) < 0.1


def test_what_cannot_be_tagged_is_refused(folders):
    tagger = mb.TokenClassifier.from_pretrained(folders[0], sequence_length=16)
    for text in ("the cat", ["the cat"]):
        with pytest.raises(UserError, match="a list of sentences is needed, each a list of words"):
            tagger.logits(text)
    with pytest.raises(UserError, match="no tags in it; `mobilebert finetune --task=tokens"):
        mb.TokenClassifier.from_pretrained(folders[1])
    with pytest.raises(UserError, match="batch_size is 0"):
        mb.TokenClassifier.from_pretrained(folders[0], batch_size=0)
