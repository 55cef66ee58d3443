import functools
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert_jax.inference.predictor import span_forward
from mobilebert_jax.inference.question_answerer import Answer, QuestionAnswerer
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params, init_params
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError

FILLER = "the cat sat on the mat and the dog ran"
TEXTS = [FILLER, "zebra café 東京 who ran", "one two three four five six seven"] * 3


@functools.cache
def tokenizer():
    return train_tokenizer(TEXTS, 200)


def pointing_at(first, last=None, null=0.0, strength=10.0):
    """A model that answers with the passage's span from the word `first` to the word `last`."""
    starts, ends = (encoding.ids for encoding in tokenizer().encode_batch([first, last or first]))

    def predict(batch):
        ids, in_passage = batch["input_ids"], batch["token_type_ids"] == 1
        start = np.where(in_passage & (ids == starts[0]), strength, 0.0)
        end = np.where(in_passage & (ids == ends[-1]), strength, 0.0)
        start[:, 0] = null
        return start, end

    return predict


def answerer(predict, **settings):
    settings = {"sequence_length": 24, "doc_stride": 8, "batch_size": 2} | settings
    return QuestionAnswerer(predict, tokenizer(), **settings)


@pytest.mark.parametrize(
    ("passage", "answer"),
    [
        ("zebra sat on the mat", "zebra"),
        (" \n\t zebra sat", "zebra"),
        ("the cat sat on Zebra", "Zebra"),
        ("the 🐱🐱 ran, ZEBRA!", "ZEBRA"),
        (f"{FILLER} {FILLER} {FILLER} zebra {FILLER} {FILLER}", "zebra"),
        ("x\ud800 zebra", "zebra"),
    ],
)
def test_answers_are_pieces_of_the_passage_as_given(passage, answer):
    found = answerer(pointing_at("zebra")).find_answers("Who ran?", passage)
    assert (found[0].text, found[0].start) == (answer, passage.index(answer))
    assert found[0].score == 20
    assert all(passage[each.start : each.end] == each.text for each in found)


def test_composed_decomposed_and_unspaced_text():
    for passage, first, answer in [
        ("un café noir", "café", "café"),
        ("un cafe\u0301 noir", "café", "cafe\u0301"),
        ("昔東京都", "東", "東"),
    ]:
        assert answerer(pointing_at(first)).find_answers("who?", passage)[0].text == answer


def test_a_span_of_several_words_and_its_longest_length():
    passage = "zebra one two three four five"
    whole = answerer(pointing_at("one", "three")).find_answers("who?", passage)[0]
    assert (whole.text, whole.start, whole.end) == ("one two three", 6, 19)
    short = answerer(pointing_at("one", "three"), max_answer_length=2).find_answers("who?", passage)
    assert all(len(answer.text.split()) <= 2 for answer in short)


def test_predict_gets_whole_batches_of_a_few_lengths_or_of_one():
    shapes = set()
    inner = pointing_at("zebra")

    def predict(batch):
        shapes.update(value.shape for value in batch.values())
        return inner(batch)

    for bucketing, lengths in ((True, {8, 24}), (False, {24})):
        shapes.clear()
        qa = answerer(predict, batch_size=3, bucketing=bucketing)
        for passage in ("zebra", "", f"{FILLER} " * 9):
            qa.find_answers("who?", passage)
        assert shapes == {(3, length) for length in lengths}


def test_no_answer_wins_only_above_the_threshold_and_the_result_says_so():
    for threshold, answered in [(2.9, False), (3.0, True)]:
        found = answerer(pointing_at("zebra", null=23.0), threshold=threshold).find_answers("who?", "the zebra ran")
        assert bool(found) == answered
        assert (found.null_score, found.score_difference) == (23.0, 3.0)
        assert "3.00 above the best span" in found.explanation and f"{threshold:g}" in found.explanation


def test_an_answer_that_wins_is_explained_too():
    found = answerer(pointing_at("zebra")).find_answers("who?", "the zebra ran")
    assert "20.00 below the best span" in found.explanation


def test_probabilities_share_one_with_no_answer():
    found = answerer(pointing_at("zebra", null=1.0)).find_answers("who?", "the zebra", top_k=99)
    assert isinstance(found, list) and all(isinstance(answer, Answer) for answer in found)
    weights = np.exp([answer.score for answer in found])
    np.testing.assert_allclose([answer.probability for answer in found], weights / (weights.sum() + np.exp(1.0)))
    assert found.null_probability == pytest.approx(np.exp(1.0) / (weights.sum() + np.exp(1.0)))
    assert len({(answer.start, answer.end) for answer in found}) == len(found)


def test_top_k_limits_the_answers():
    assert len(answerer(pointing_at("cat")).find_answers("who?", FILLER, top_k=3)) == 3
    with pytest.raises(UserError, match="top_k is 0"):
        answerer(pointing_at("cat")).find_answers("who?", FILLER, top_k=0)


@pytest.mark.parametrize("passage", ["", "  \n"])
def test_an_empty_passage_has_no_answer_and_says_why(passage):
    found = answerer(pointing_at("zebra")).find_answers("who?", passage)
    assert found == [] and found.score_difference == math.inf and "no span" in found.explanation
    assert found.null_probability == 1.0


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused(question):
    with pytest.raises(UserError, match="question is empty"):
        answerer(pointing_at("zebra")).find_answers(question, FILLER)


def test_sizes_below_one_are_refused():
    with pytest.raises(UserError, match="batch_size is 0"):
        answerer(pointing_at("zebra"), batch_size=0)


def save_model(folder, vocab_size):
    """A one-block model of 32 positions with the tokenizer."""
    cfg = ModelConfig(
        vocab_size=vocab_size,
        embedding_size=16,
        hidden_size=16,
        intra_bottleneck_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_feedforward_networks=1,
        max_position_embeddings=32,
    )
    model = build_model(cfg, "qa")
    save_pretrained(folder, model, init_params(model, 0), tokenizer())
    return folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "qa", tokenizer().vocab_size)


def test_a_model_folder_answers_within_its_positions(model_folder):
    qa = QuestionAnswerer.from_pretrained(model_folder, threshold=math.inf)
    assert (qa.sequence_length, qa.batch_size) == (32, 1)
    passage = f"{FILLER} {FILLER} {FILLER} {FILLER}"
    found = qa.find_answers("who ran?", passage)
    assert found and all(passage[answer.start : answer.end] == answer.text for answer in found)


def test_more_tokens_than_the_model_has_positions_are_refused(model_folder):
    with pytest.raises(UserError, match=r"sequence_length 64.*32 positions"):
        QuestionAnswerer.from_pretrained(model_folder, sequence_length=64)


def test_a_tokenizer_with_more_pieces_than_the_model_is_refused(tmp_path):
    folder = save_model(tmp_path / "qa", tokenizer().vocab_size - 1)
    with pytest.raises(
        UserError, match=f"{tokenizer().vocab_size} pieces, the model only {tokenizer().vocab_size - 1}"
    ):
        QuestionAnswerer.from_pretrained(folder)


def random_answerer(zero_pad_embeddings, **settings):
    """A model of random weights that never stays silent."""
    cfg = ModelConfig.test_student(
        vocab_size=tokenizer().vocab_size, max_position_embeddings=48, zero_pad_embeddings=zero_pad_embeddings
    )
    model, rng = build_model(cfg, "qa"), np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.3), abstract_params(model))
    predict = functools.partial(span_forward(model), params)
    return QuestionAnswerer(
        predict, tokenizer(), **{"sequence_length": 48, "doc_stride": 16, "threshold": math.inf} | settings
    )


@pytest.mark.parametrize("zero_pad_embeddings", [True, False])
def test_a_passage_has_the_same_answers_alone_and_beside_longer_ones(zero_pad_embeddings):
    qa = random_answerer(zero_pad_embeddings, batch_size=4)
    passages = ["zebra sat", "", f"{FILLER} zebra " * 9, "café 東京", " ".join(["cat"] * 33), f"{FILLER} {FILLER}"]
    asked = [("who ran?", passage) for passage in passages]
    together = qa.find_answers_batch(asked, top_k=7)
    alone = [qa.find_answers(*pair, top_k=7) for pair in asked]
    whole = random_answerer(zero_pad_embeddings, batch_size=4, bucketing=False).find_answers_batch(asked, top_k=7)
    assert len(together) == len(passages) and not together[1]
    for passage, found, *others in zip(passages, together, alone, whole, strict=True):
        assert len(found) == 7 or len(passage.split()) < 4
        for other in others:
            assert [(answer.start, answer.end) for answer in found] == [(each.start, each.end) for each in other]
            for name in ("score", "probability"):
                ours, theirs = ([getattr(each, name) for each in answers] for answers in (found, other))
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
            assert found.null_score == pytest.approx(other.null_score, rel=1e-5, abs=1e-5)
    assert qa.find_answers_batch([]) == []


@functools.cache
def any_answerer():
    """Likes every token a little, by its id and place: any span may be an answer."""

    def predict(batch):
        liking = np.sin(batch["input_ids"] * 1.7 + np.arange(batch["input_ids"].shape[1]) * 0.3)
        return liking, np.cos(batch["input_ids"] * 0.9)

    return answerer(predict, threshold=math.inf)


PIECES = [
    "cat",
    "Zebra",
    " ",
    "\t",
    "\r\n",
    "\n",
    "e\u0301",
    "é",
    "\u0301",
    "👩\u200d👧",
    "🐱",
    "東京",
    "שלום",
    "\u200f",
]
PIECES += ["\u200b", "\u00a0", "\ufeff", "عربى", "ﬁ", "ß", "İ", "\ud800", "\x00", ",", "…"]
UNICODE = st.one_of(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.text(max_size=40))


@settings(max_examples=150, deadline=None)
@given(UNICODE)
def test_offsets_lead_into_any_passage_as_it_was_given(passage):
    found = any_answerer().find_answers("who?", passage, top_k=50)
    for answer in found:
        assert 0 <= answer.start < answer.end <= len(passage)
        assert answer.text == passage[answer.start : answer.end] and answer.text.strip()
    assert len({(answer.start, answer.end) for answer in found}) == len(found)
    assert [answer.score for answer in found] == sorted((answer.score for answer in found), reverse=True)
    assert sum(answer.probability for answer in found) + found.null_probability <= 1 + 1e-9


def test_a_long_passage_is_read_in_batches_of_one_size_and_each_place_answers_once():
    shapes, inner = set(), pointing_at("zebra")

    def predict(batch):
        shapes.update(value.shape for value in batch.values())
        return inner(batch)

    passage = f"{FILLER} " * 2600 + "zebra " + f"{FILLER} " * 10
    assert len(passage) > 100_000
    found = answerer(predict, doc_stride=5, batch_size=16).find_answers("who?", passage)
    assert {rows for rows, _ in shapes} == {16} and max(length for _, length in shapes) == 24
    assert (found[0].text, found[0].start) == ("zebra", passage.index("zebra"))
    assert [answer.score for answer in found].count(20) == 1


def test_more_answers_than_usual_are_found_if_asked_for():
    found = any_answerer().find_answers("who?", f"{FILLER} {FILLER}", top_k=60)
    assert len(found) == 60


def test_a_question_that_is_not_read_to_its_end_is_told():
    qa = answerer(pointing_at("zebra"), max_query_length=3)
    with pytest.warns(UserWarning, match=r"the question 'who ran who ran\?'\.\.\. is read up to its token 3 only"):
        assert qa.find_answers("who ran who ran?", "the zebra")[0].text == "zebra"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qa.find_answers("who ran?", "the zebra")


def test_a_smaller_model_has_a_smaller_stride_and_reads_less_of_a_question(model_folder):
    qa = QuestionAnswerer.from_pretrained(model_folder)
    assert (qa.sequence_length, qa.doc_stride, qa.max_query_length) == (32, 10, 10)
    assert QuestionAnswerer.from_pretrained(model_folder, doc_stride=7).doc_stride == 7
