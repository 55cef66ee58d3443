"""What a page cannot be made of is refused before anything is written."""

import subprocess

import pytest

from mobilebert_jax.export.web import runtime
from mobilebert_jax.export.web.folder import check_page, export_web
from mobilebert_jax.models.config import preset
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.utils.errors import UserError
from tests.models.model_cases import random_params
from tests.web.texts import tokenizer


def saved(folder, head="qa", tokenizer=None):
    model = build_model(preset("test_student", vocab_size=160), head)
    save_pretrained(folder, model, random_params(model), tokenizer)
    return folder


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILEBERT_CACHE", str(tmp_path / "cache"))


def assert_refused(tmp_path, source, match, **options):
    with pytest.raises(UserError, match=match):
        export_web(source, tmp_path / "page", **options)
    assert not (tmp_path / "page").exists()


def test_a_model_that_answers_no_questions(tmp_path):
    assert_refused(tmp_path, saved(tmp_path / "model", "pretraining"), "needs a model that answers questions")


def test_a_folder_without_its_tokenizer(tmp_path):
    assert_refused(tmp_path, saved(tmp_path / "model"), "holds neither tokenizer.json nor vocab.txt")


def test_a_tokenizer_that_the_page_does_not_have(tmp_path):
    pieces = train_tokenizer(["the cat sat on the mat", "the dog ran"] * 50, 18, kind="unigram")
    assert_refused(
        tmp_path,
        saved(tmp_path / "model", tokenizer=pieces),
        "reads BERT's WordPiece tokenizers; this one is .*Unigram",
    )


@pytest.mark.parametrize(
    ("lengths", "match"), [((25,), "--lengths=25: the model takes 2 to 24"), ((8, 16), "--lengths=8,16: .* one length")]
)
def test_a_length_that_cannot_be(tmp_path, lengths, match):
    assert_refused(tmp_path, saved(tmp_path / "model", tokenizer=tokenizer()), match, lengths=lengths)


def test_npm_missing_or_failing(tmp_path, monkeypatch, no_cache):
    source = saved(tmp_path / "model", tokenizer=tokenizer())
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    assert_refused(tmp_path, source, r"npm is missing, .* install Node.js \(apt-get install npm")
    monkeypatch.setattr(runtime.shutil, "which", lambda name: "/bin/npm")
    failed = subprocess.CompletedProcess([], 1, "", "npm error code E404\nnpm error not found\n")
    monkeypatch.setattr(runtime.subprocess, "run", lambda *command, **options: failed)
    assert_refused(tmp_path, source, "npm could not bring onnxruntime-web .*: npm error code E404 npm error not found")
    assert not list((tmp_path / "cache" / "web").iterdir())


def test_what_is_no_page(tmp_path):
    with pytest.raises(UserError, match=r"no page there; `mobilebert export --format=web"):
        check_page(tmp_path)
    (tmp_path / "export.json").write_text('{"format": "onnx"}')
    with pytest.raises(UserError, match="no page there"):
        check_page(tmp_path)
