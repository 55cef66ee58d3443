"""SentencePiece models in the form of a tokenizer.json alone."""

import json

import pytest
import tokenizers

from mobilebert_jax.text.metaspace import Metaspace
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.utils.errors import UserError


@pytest.fixture(params=["unigram", "bpe"])
def same(request, trained, tmp_path):
    """A trained SentencePiece tokenizer, and its tokenizer.json in a folder without the model."""
    trained(request.param).save(tmp_path)
    (tmp_path / "spiece.model").unlink()
    return trained(request.param), load_tokenizer(tmp_path)


def test_it_encodes_as_the_model_does(same, documents):
    model, tokenizer = same
    texts = [*documents, "  The [MASK]  cat\u3000½ 你好 the", ""]
    assert isinstance(tokenizer, Metaspace)
    assert tokenizer.ids_batch(texts) == model.ids_batch(texts)
    for found, expected in zip(tokenizer.encode_batch(texts), model.encode_batch(texts), strict=True):
        assert found == expected
    assert tokenizer.decode(tokenizer.ids_batch(["the cat sat"])[0]) == "the cat sat"


def test_it_has_the_same_vocabulary(same):
    model, tokenizer = same
    for name in ("pieces", "special_tokens", "special_ids", "vocab_size", "lowercase"):
        assert getattr(tokenizer, name) == getattr(model, name)
    assert (tokenizer.continuation == model.continuation).all()
    assert [tokenizer.text_of(i) for i in range(60)] == [model.text_of(i) for i in range(60)]


def test_saved_and_loaded_it_is_the_same(same, tmp_path):
    tokenizer = same[1]
    tokenizer.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").fingerprint() == tokenizer.fingerprint()
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and config["do_lower_case"] is True


def test_ids_of_its_own_are_kept(trained, tmp_path):
    """XLM-R's tokenizer.json numbers its model's pieces anew; such a folder's .model is not asked."""
    trained("unigram").save(tmp_path)
    described = json.loads((tmp_path / "tokenizer.json").read_text())
    pieces = described["model"]["vocab"]
    names = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
    order = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", *(piece for piece, _ in pieces[5:]), "[MASK]"]
    scores = dict(pieces)
    described["model"] |= {"vocab": [[names.get(piece, piece), scores[piece]] for piece in order], "unk_id": 3}
    described |= {"added_tokens": [], "post_processor": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    settings = dict(zip(roles, names.values(), strict=True))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.special_ids == (1, 3, 0, 2, len(order) - 1)
    expected = [i - 1 if i > 3 else i for i in trained("unigram").ids_batch(["the cat sat"])[0]]
    assert tokenizer.ids_batch(["the cat sat"]) == [expected]
    assert tokenizer.ids_batch(["the<mask>"])[0][-1] == len(order) - 1


def test_byte_level_bpe_is_refused(tmp_path):
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"its model is BPE, not SentencePiece's; WordPiece or SentencePiece is needed"):
        load_tokenizer(tmp_path)
