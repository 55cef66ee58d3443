import functools
import math

import numpy as np
import pytest

from mobilebert_jax.inference.question_answerer import Answer, QuestionAnswerer
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import init_params
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
    assert len({(answer.start, answer.end) for answer in found}) == len(found)


def test_top_k_limits_the_answers():
    assert len(answerer(pointing_at("cat")).find_answers("who?", FILLER, top_k=3)) == 3
    with pytest.raises(UserError, match="top_k is 0"):
        answerer(pointing_at("cat")).find_answers("who?", FILLER, top_k=0)


@pytest.mark.parametrize("passage", ["", "  \n"])
def test_an_empty_passage_has_no_answer_and_says_why(passage):
    found = answerer(pointing_at("zebra")).find_answers("who?", passage)
    assert found == [] and found.score_difference == math.inf and "no span" in found.explanation


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
