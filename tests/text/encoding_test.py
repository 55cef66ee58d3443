import os
import time

import numpy as np
import pytest

from mobilebert_jax.text.encoding import ALONE, Encoder, encode_in_order, side_of
from mobilebert_jax.utils.errors import UserError


class Ids:
    """In a tokenizer's place: one id a character, except that some texts take their time or end the process."""

    def ids_batch(self, texts):
        for text in texts:
            if text.startswith("slow"):
                time.sleep(0.05)
            if text.startswith("kill") and os.environ.get("TOKENIZERS_PARALLELISM") == "false":
                os._exit(9)
        return [[ord(character) for character in text if character != "~"] for text in texts]


def encoder(fraction=0.5):
    return Encoder(Ids(), np.dtype(np.uint32), fraction, "rules")


def test_a_batch_is_encoded_by_sides_in_order():
    documents = ["One. Two.\nThree.", "~", "Four.\n~\nFive.", "Six."]
    found = encoder()(documents)
    for side, encoded in found.items():
        own = [d for d in documents if d != "~" and side_of(d, 0.5) == side]
        sentences = [[s for s in d.replace("\n", " ").split(" ") if s != "~"] for d in own]
        assert encoded.document_sizes.tolist() == [len(s) for s in sentences]
        assert encoded.sentence_lengths.tolist() == [len(s) for document in sentences for s in document]
        assert encoded.tokens.tolist() == [ord(c) for document in sentences for s in document for c in s]
        assert encoded.tokens.dtype == np.uint32


def test_a_side_is_a_share_of_all_texts():
    heldout = sum(side_of(str(number), 0.1) == "heldout" for number in range(5000))
    assert 430 < heldout < 570


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_batches(workers):
    batches = [(number, [("slow " if number % 3 == 0 else "") + str(number)]) for number in range(3 * ALONE)]
    made = list(encode_in_order(encoder(), iter(batches), workers))
    assert [key for key, _ in made] == list(range(3 * ALONE))
    for (_, documents), (_, found) in zip(batches, made, strict=True):
        tokens = np.concatenate([found["train"].tokens, found["heldout"].tokens])
        assert "".join(map(chr, tokens)) == documents[0]


def test_few_batches_start_no_process(monkeypatch):
    monkeypatch.setattr("mobilebert_jax.text.encoding._pool", None)
    batches = [(number, ["a"]) for number in range(ALONE - 1)]
    assert len(list(encode_in_order(encoder(), batches, 4))) == ALONE - 1


def test_the_corpus_is_read_only_a_little_ahead():
    read = []

    def batches():
        for number in range(100):
            read.append(number)
            yield number, ["a"]

    for key, _ in encode_in_order(encoder(), batches(), 2):
        assert len(read) - key <= ALONE + 2 * 3 + 1


def test_a_process_that_dies_is_one_line():
    batches = [(number, ["kill" if number == ALONE + 2 else "a"]) for number in range(3 * ALONE)]
    with pytest.raises(UserError, match="a process that tokenizes was ended from outside"):
        list(encode_in_order(encoder(), batches, 2))
