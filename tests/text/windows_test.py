import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.text.windows import build_windows
from mobilebert_jax.utils.errors import UserError

TEXTS = [
    "The cat sat on the mat, and the dog ran.",
    "A café in Paris sells café crème.",
    "Who sat where? What ran?",
] * 2


@functools.cache
def tokenizer():
    return train_tokenizer(TEXTS, 120)


class CountingTokenizer:
    """Remembers which texts were tokenised."""

    def __init__(self):
        self.pad_id, self.cls_id, self.sep_id = tokenizer().pad_id, tokenizer().cls_id, tokenizer().sep_id
        self.seen = []

    def encode_batch(self, texts):
        self.seen += texts
        return tokenizer().encode_batch(texts)


def pieces(text):
    [encoding] = tokenizer().encode_batch([text])
    return encoding.ids, encoding.offsets


def slide(length, room, stride):
    """BERT's loop: (first token, tokens) of each chunk."""
    chunks, start = [], 0
    while start < length:
        size = min(room, length - start)
        chunks.append((start, size))
        if start + size == length:
            break
        start += min(size, stride)
    return chunks or [(0, 0)]


def owner(chunks, token):
    """BERT's loop: the first chunk with the greatest max-context score."""
    best_score, best = None, None
    for index, (start, size) in enumerate(chunks):
        if not start <= token < start + size:
            continue
        score = min(token - start, start + size - 1 - token) + 0.01 * size
        if best_score is None or score > best_score:
            best_score, best = score, index
    return best


def expected_rows(question, passage, sequence_length, stride, max_query):
    ids, offsets = pieces(passage)
    asked = pieces(question)[0][:max_query]
    chunks = slide(len(ids), sequence_length - len(asked) - 3, stride)
    t = tokenizer()
    for index, (start, size) in enumerate(chunks):
        row = [t.cls_id, *asked, t.sep_id, *ids[start : start + size], t.sep_id]
        pad, before = sequence_length - len(row), len(asked) + 2
        after = sequence_length - before - size
        chunk = range(start, start + size)
        yield {
            "input_ids": row + [t.pad_id] * pad,
            "attention_mask": [1] * len(row) + [0] * pad,
            "token_type_ids": [0] * before + [1] * (size + 1) + [0] * pad,
            "char_start": [-1] * before + [offsets[i][0] for i in chunk] + [-1] * after,
            "char_end": [-1] * before + [offsets[i][1] for i in chunk] + [-1] * after,
            "in_passage": [False] * before + [True] * size + [False] * after,
            "max_context": [False] * before + [owner(chunks, i) == index for i in chunk] + [False] * after,
        }


WORDS = st.lists(st.sampled_from("the cat sat on mat dog Paris café, zebra. ran?".split()), max_size=60).map(" ".join)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3),
    st.integers(14, 40),
    st.integers(1, 30),
    st.integers(1, 9),
)
def test_windows_equal_berts_loops(pairs, sequence_length, stride, max_query):
    questions, passages = zip(*pairs, strict=True)
    shape = {"sequence_length": sequence_length, "doc_stride": stride, "max_query_length": max_query}
    windows = build_windows(tokenizer(), questions, passages, **shape)
    rows = [
        (example, row)
        for example, pair in enumerate(pairs)
        for row in expected_rows(*pair, sequence_length, stride, max_query)
    ]
    assert windows.example.tolist() == [example for example, _ in rows]
    for name in rows[0][1]:
        assert getattr(windows, name).tolist() == [row[name] for _, row in rows], name


def test_arrays_have_the_promised_types():
    windows = build_windows(tokenizer(), ["Who sat?"], [TEXTS[0]], sequence_length=16)
    for name in ("input_ids", "attention_mask", "token_type_ids", "char_start", "char_end", "example"):
        assert getattr(windows, name).dtype == np.int32, name
    assert windows.in_passage.dtype == windows.max_context.dtype == bool
    assert windows.lengths.tolist() == windows.attention_mask.sum(axis=1).tolist()
    batch = windows.batch(np.array([0, 0]), int(windows.lengths[0]))
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
    assert {value.shape for value in batch.values()} == {(2, windows.lengths[0])}


@pytest.mark.parametrize(
    "passage", ["  \n cat sat", "🐱🐱 the cat", "un cafe\u0301 ran", "A\u00a0CAT", "x\ud800 the cat"]
)
def test_offsets_lead_back_to_the_untouched_passage(passage):
    windows = build_windows(tokenizer(), ["Who?"], [passage], sequence_length=40)
    inside = windows.in_passage
    assert inside.any()
    for token, start, end in zip(
        windows.input_ids[inside], windows.char_start[inside], windows.char_end[inside], strict=True
    ):
        piece = tokenizer().text_of(int(token))
        assert piece == "[UNK]" or passage[start:end].lower() == piece


@pytest.mark.parametrize("passage", ["", " \n\t"])
def test_an_empty_passage_has_one_window_without_passage_tokens(passage):
    windows = build_windows(tokenizer(), ["Who sat?", "Who ran?"], [passage, "the dog ran"], sequence_length=16)
    assert windows.example.tolist() == [0, 1]
    assert windows.in_passage.any(axis=1).tolist() == [False, True]
    asked = len(pieces("Who sat?")[0])
    assert windows.attention_mask[0].sum() == asked + 3
    assert (windows.input_ids[0] == tokenizer().sep_id).sum() == 2


def test_no_questions_give_no_windows():
    windows = build_windows(tokenizer(), [], [], sequence_length=16)
    assert len(windows) == 0 and windows.input_ids.shape == (0, 16)


def test_a_passage_is_tokenised_once():
    counting = CountingTokenizer()
    build_windows(counting, ["Who?", "What?", "Where?"], [TEXTS[0], TEXTS[1], TEXTS[0]], sequence_length=32)
    assert sorted(counting.seen) == sorted(["Who?", "What?", "Where?", TEXTS[0], TEXTS[1]])


def test_a_question_that_leaves_no_room_is_refused_with_the_length_it_needs():
    question = "Who sat where?"
    needed = len(pieces(question)[0]) + 4
    with pytest.raises(
        UserError, match=rf"sequence_length {needed - 1} leaves no room .*'Who sat where\?'.*at least {needed},"
    ):
        build_windows(tokenizer(), ["Who?", question], [TEXTS[0]] * 2, sequence_length=needed - 1)
    assert len(build_windows(tokenizer(), [question], ["cat sat"], sequence_length=needed, doc_stride=3)) >= 2


@pytest.mark.parametrize("wrong", [{"doc_stride": 0}, {"max_query_length": 0}])
def test_sizes_below_one_are_refused(wrong):
    with pytest.raises(UserError, match="at least 1"):
        build_windows(tokenizer(), ["Who?"], ["cat"], sequence_length=32, **wrong)


SENTENCEPIECE_TEXT = st.text(alphabet="the cat sat. ½ﬁE\u0301\u3000\t\u200b🐱你好[MASK]", max_size=60)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=60), SENTENCEPIECE_TEXT), st.integers(1, 9))
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_every_token_of_sentencepiece_lies_in_the_passage_and_covers_its_text(trained, kind, passage, stride):
    sentencepiece = trained(kind)
    windows = build_windows(sentencepiece, ["the cat"], [passage], sequence_length=24, doc_stride=stride)
    inside = windows.in_passage
    assert set(windows.input_ids[inside]) == set(sentencepiece.ids_batch([passage])[0])
    for token, begin, end in zip(
        windows.input_ids[inside], windows.char_start[inside], windows.char_end[inside], strict=True
    ):
        assert 0 <= begin <= end <= len(passage)
        own = sentencepiece.backend.normalizer.normalize_str(passage[begin:end])
        assert token in sentencepiece.special_ids or sentencepiece.text_of(token) in own
        assert begin < end or not sentencepiece.text_of(token)
