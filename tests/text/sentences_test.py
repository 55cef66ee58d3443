import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.sentences import split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Mr. Smith met Dr. J. R. Jones in St. Louis.", "They talked."],
        ["It cost $3.50 in v. 2.1 of the U.S. Army list.", "Nobody paid."],
        ["He said no.", "See Fig. 3 and no. 7 for it."],
        ['"Go away!" she said.', '"Why?"', "He left..."],
        ["They sold pens, ink, etc.", "The shop closed in 1862.", "On Jan. 5 it opened."],
        ["It came from the U.S.", "The rest did not."],
        ["1. Open the box.", "2. Close it (gently.)", "Vitamin C.", "The end."],
        ["Use e.g. A or B, i.e. one of them.", "Or os.path.join."],
        ["Is it Yahoo! or not?", "It is."],
        ["no capital. and no end"],
    ],
)
def test_sentences_are_found_again(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_full_width_stops_need_no_space():
    assert split_sentences("你好。世界。 再见") == ["你好。", "世界。", "再见"]


def test_empty_paragraphs_have_no_sentences():
    assert split_sentences("") == split_sentences("  \n") == []


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="aA1.!?\"') (…。\u201d\n", max_size=60))
def test_no_word_is_lost_and_no_sentence_is_empty(paragraph):
    sentences = split_sentences(paragraph)
    assert "".join("".join(sentences).split()) == "".join(paragraph.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


@pytest.mark.parametrize("unit", [".", ". ", '."', "A. ", ". (", "?!", "a", '"', "。", " "])
def test_time_grows_with_the_length_only(unit):
    start = time.process_time()
    split_sentences(unit * 50_000 + "x")
    assert time.process_time() - start < 2
