"""The page's own modules, run by Node.js: their tokens, windows and answers are those of `QuestionAnswerer`."""

import functools
import json
import math
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mobilebert_jax.export.web.characters import character_kinds
from mobilebert_jax.export.web.folder import SITE, answering_settings
from mobilebert_jax.inference.question_answerer import QuestionAnswerer
from mobilebert_jax.text.tokenizer import train_tokenizer
from tests.web.texts import some_text, tokenizer, units

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")

SEQUENCE_LENGTH = 24


kinds = functools.cache(character_kinds)


def in_node(own_tokenizer, settings=None, **asked):
    """What answers.mjs says."""
    with tempfile.TemporaryDirectory() as folder:
        own_tokenizer.save(folder)
        message = {
            "tokenizer": json.loads(Path(folder, "tokenizer.json").read_text()),
            "kinds": kinds(),
            "settings": settings or answering_settings(own_tokenizer, SEQUENCE_LENGTH, {}),
            **asked,
        }
        shutil.copytree(SITE / "answers", Path(folder, "answers"))
        shutil.copyfile(Path(__file__).parent / "answers.mjs", Path(folder, "answers.mjs"))
        Path(folder, "package.json").write_text('{"type": "module"}')
        command = ["node", str(Path(folder, "answers.mjs"))]
        done = subprocess.run(command, input=json.dumps(message), capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def made_up_logits(batch):
    ids = batch["input_ids"].astype(np.int64)
    place, length = np.arange(ids.shape[1]), ids.shape[1]
    logits = lambda a, b, c: ((ids * a + place * b + length) % c / 4).astype(np.float32)  # noqa: E731
    return logits(31, 17, 97), logits(13, 29, 89)


def test_tokens_and_their_places_are_the_same():
    rng = random.Random(0)
    texts = [some_text(rng, 40) for _ in range(300)] + ["", " ", "\ud800", "a" * 101, "[CLS][SEP]", "İ", "ﬁ ﷺ"]
    for text, found, wanted in zip(
        texts, in_node(tokenizer(), texts=texts)["encoded"], tokenizer().encode_batch(texts), strict=True
    ):
        assert found["ids"] == wanted.ids, text
        places = [(units(text, start), units(text, end)) for start, end in wanted.offsets]
        assert list(zip(found["starts"], found["ends"], strict=True)) == places, text


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_character_becomes_the_same(lowercase):
    cased = train_tokenizer(["a b c"], 20, lowercase)
    characters = [chr(code) for code in [*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)]]
    found = in_node(cased, characters="".join(characters))["made"]
    wanted = map(cased.backend.normalizer.normalize_str, characters)
    different = [character for character, *both in zip(characters, found, wanted, strict=True) if both[0] != both[1]]
    # Letters with a mark that came after the library's Unicode.
    assert len(different) <= 30 and all(ord(character) > 0x10000 for character in different)


@pytest.mark.parametrize("threshold", [-4.0, 0.0, 50.0])
def test_answers_are_those_of_the_answerer(threshold):
    rng = random.Random(threshold)
    asked = [(f"who {some_text(rng, 4)}", some_text(rng, rng.choice([3, 20, 90]))) for _ in range(150)]
    asked += [("why?", ""), ("why?", " \u200b"), ("where " * 12, "the cat sat")]
    settings = answering_settings(tokenizer(), SEQUENCE_LENGTH, {}) | {"candidates": 6, "max_answer_length": 5}
    shape = {name: settings[name] for name in ("doc_stride", "max_query_length", "max_answer_length")}
    qa = QuestionAnswerer(made_up_logits, tokenizer(), SEQUENCE_LENGTH, **shape, batch_size=1, threshold=threshold)
    questions = [{"question": question, "passage": passage, "threshold": threshold} for question, passage in asked]
    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="is read up to its token"):
        patch.setattr("mobilebert_jax.inference.question_answerer.CANDIDATES", 6)
        wanted = qa.find_answers_batch(asked)
    found = in_node(tokenizer(), settings, asked=questions)["found"]
    for pair, theirs, own in zip(asked, found, wanted, strict=True):
        check_answers(*pair, theirs, own)
        pieces = len(tokenizer().encode_batch([pair[0]])[0].ids)
        assert theirs["questionCut"] == (pieces > settings["max_query_length"])
    silent, spanless = sum(not own for own in wanted), sum(not theirs["candidates"] for theirs in found)
    assert silent == spanless if threshold == 50 else 2 < spanless < silent < len(asked)


def check_answers(question, passage, found, wanted):
    assert found["explanation"] == wanted.explanation
    assert found["nullScore"] == wanted.null_score
    assert math.isclose(found["nullProbability"], wanted.null_probability)
    assert (found["scoreDifference"] if found["candidates"] else math.inf) == wanted.score_difference
    assert len(found["answers"]) == len(wanted)
    for theirs, answer in zip(found["answers"], wanted, strict=True):
        place = units(passage, answer.start), units(passage, answer.end)
        assert (theirs["start"], theirs["end"], theirs["score"]) == (*place, answer.score), (question, passage)
        assert math.isclose(theirs["probability"], answer.probability)
        assert theirs["text"] == answer.text
