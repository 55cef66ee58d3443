"""SentencePiece models as their makers train them."""

import io

import sentencepiece

from tests.text.conftest import WORDS

ALBERT = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": ["[CLS]", "[SEP]", "[MASK]"]}
T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
XLM = {"unk_id": 0, "bos_id": 1, "eos_id": 2}


def given_model(base=ALBERT, **settings) -> bytes:
    """A model as its makers train it: SentencePiece's own normalisation, marks and scores."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS), " ".join(WORDS[::-1]), "aaaa iiii The Cat Sat. [MASK]"] * 20),
        model_writer=model,
        **{"vocab_size": 64, "minloglevel": 2} | base | settings,
    )
    return model.getvalue()
