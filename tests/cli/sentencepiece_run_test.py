"""The whole recipe, and what comes after it, with a SentencePiece tokenizer."""

import itertools
import json

import numpy as np
import pytest

from mobilebert_jax.inference.question_answerer import QuestionAnswerer
from mobilebert_jax.text.sentencepiece import SentencePiece
from mobilebert_jax.text.store import TokenStore
from mobilebert_jax.text.tokenizer import load_tokenizer
from mobilebert_jax.utils.files import read_json

PASSAGE = "A  cat\u3000sat on the mat [SEP] 你好.\r\nDogs were ½ running through green fields."
PIECES = 120
"""As many as the tiny run's, so that its compiled programs serve here."""


@pytest.fixture(scope="module")
def workdir(tiny_run, finished_run, tmp_path_factory):
    """A finished run, its text the tiny one and words made of syllables, of which there are pieces enough.

    It comes after `finished_run`, which has compiled its programs.
    """
    folder = tmp_path_factory.mktemp("sentencepiece")
    words = ["".join(parts) for parts in itertools.product("ba do ke mi lu sor tan vel".split(), repeat=2)]
    rng = np.random.default_rng(0)
    extra = [" ".join(rng.choice(words, 12)) + ". " + " ".join(rng.choice(words, 9)) + "." for _ in range(40)]
    text = (tiny_run.folder / "corpus.txt").read_text(encoding="utf-8")
    (folder / "corpus.txt").write_text("\n\n".join([text, *extra]), encoding="utf-8")
    settings = {
        "data.corpus": folder / "corpus.txt",
        "data.tokenizer_kind": "unigram",
        "data.tokenizer_sample": 15_000,
        "data.whole_word": True,
        "data.vocab_size": PIECES,
    }
    tiny_run.finish("run", folder / "w", *(f"--config.{name}={value}" for name, value in settings.items()))
    return folder / "w"


def test_every_phase_has_its_model_and_its_tokenizer(workdir):
    for folder in ("teacher/model", "distill/model", "finetune/model", "model", "data/tokenizer"):
        tokenizer = load_tokenizer(workdir / folder)
        assert isinstance(tokenizer, SentencePiece) and tokenizer.vocab_size == PIECES
    results = read_json(workdir / "finetune" / "results.json")
    assert results["baselines"]["first_sentence"]["HasAns_f1"] == 100
    assert "▁" in (workdir / "report.html").read_text(encoding="utf-8")


def test_the_store_gives_the_text_back(workdir):
    tokenizer, store = load_tokenizer(workdir / "data" / "tokenizer"), TokenStore.open(workdir / "data", "train")
    ids = np.concatenate([np.asarray(part) for part in store.tokens])
    known = (workdir.parent / "corpus.txt").read_text(encoding="utf-8").lower()
    assert all(word in known for word in tokenizer.decode(ids[:400]).split())
    assert (ids != tokenizer.unk_id).mean() > 0.95


def test_answers_stand_in_the_passage_as_it_was_given(workdir, command, tmp_path):
    answers = QuestionAnswerer.from_pretrained(workdir / "model", threshold=np.inf).find_answers("first?", PASSAGE, 20)
    assert answers
    for answer in answers:
        assert PASSAGE[answer.start : answer.end] == answer.text == answer.text.strip() != ""
    (tmp_path / "passage.txt").write_bytes(PASSAGE.encode())
    words = ("answer", "what was first?", f"--model={workdir / 'model'}", "--passage=passage.txt", "--json")
    code, out, error = command(*words)
    assert code == 0 and "answers" in json.loads(out), error


def test_the_model_is_scored_and_looked_into(workdir, command, tiny_run, tmp_path):
    dataset = tiny_run.folder / "questions.json"
    code, out, error = command("evaluate", f"--model={workdir / 'model'}", f"--dataset={dataset}", "--json")
    assert code == 0 and 0 <= json.loads(out)["f1"] <= 100, error
    (tmp_path / "text.txt").write_text(PASSAGE, encoding="utf-8")
    code, out, error = command("inspect", workdir / "model", "--ranges=text.txt", "--sequence_length=16")
    assert code == 0 and "layer" in out, error
    code, out, error = command("inspect", workdir / "data", "--json")
    assert code == 0 and "[MASK]" in out, error


def test_a_given_model_file_prepares_the_same_store(workdir, command, tiny_run, tmp_path):
    """What stands in the run's folder serves another run, as a file of SentencePiece alone."""
    given = f"--config.data.tokenizer={workdir / 'data' / 'tokenizer' / 'spiece.model'}"
    code, _, error = command("prepare", "--workdir=w", *tiny_run.words, given)
    assert code == 0, error
    ours, theirs = (load_tokenizer(folder / "data" / "tokenizer") for folder in (tmp_path / "w", workdir))
    assert ours.fingerprint() == theirs.fingerprint()
