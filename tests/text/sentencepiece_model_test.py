import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.sentencepiece_model import PieceType, parse_model, replace_normalizer, replace_scores
from mobilebert_jax.text.sentencepiece_training import train_model
from mobilebert_jax.utils.errors import UserError


@pytest.fixture(scope="module")
def data(documents):
    return train_model(documents, 50, "unigram")


def test_pieces_are_those_that_the_library_reads(data):
    theirs = sentencepiece.SentencePieceProcessor(model_proto=data)
    ours = parse_model(data, "model").pieces
    assert len(ours) == len(theirs)
    for index, piece in enumerate(ours):
        assert piece.text == theirs.id_to_piece(index)
        assert piece.score == theirs.get_score(index)
        assert (piece.type == PieceType.CONTROL) == theirs.is_control(index)
        assert (piece.type == PieceType.UNKNOWN) == theirs.is_unknown(index)


def test_what_is_not_replaced_stays(data):
    changed = replace_scores(data, lambda score: score - 1)
    assert replace_scores(changed, lambda score: score + 1) == data
    before, after = parse_model(data, "model"), parse_model(changed, "model")
    assert [piece.score for piece in after.pieces] == [piece.score - 1 for piece in before.pieces]
    assert after.charsmap == before.charsmap and after.kind == before.kind


def test_a_model_without_normalisation_leaves_the_text_as_it_is(data):
    plain = replace_normalizer(data, b"")
    assert parse_model(plain, "model").charsmap == b""
    assert sentencepiece.SentencePieceProcessor(model_proto=plain).normalize("A ﬁn") == "▁A▁ﬁn"


@pytest.mark.parametrize("bad", [b"", b"[PAD]\n[UNK]\n", b'{"version": "1.0"}', b"\x80" * 40, b"\x08\x01"])
def test_other_files_are_refused_by_name(bad):
    with pytest.raises(UserError, match=r"^some/file\.model: not a SentencePiece model$"):
        parse_model(bad, "some/file.model")


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 0.999), garbage=st.binary(max_size=20))
def test_damaged_files_are_read_or_refused_but_never_crash(data, share, garbage):
    at = int(len(data) * share)
    for damaged in (data[:at], data[:at] + garbage, data[:at] + garbage + data[at + len(garbage) :]):
        try:
            assert parse_model(damaged, "model").pieces
        except UserError as error:
            assert "not a SentencePiece model" in str(error)
