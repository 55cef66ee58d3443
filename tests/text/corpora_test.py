import subprocess
import sys

import pytest

from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.text.selection import Selection
from mobilebert_jax.utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(f"{name} {i}" for i in range(8)))
    (tmp_path / "2*.txt").write_text("a star")
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("builtin:wikipedia", "builtin:python-docs is the one"),
        (
            "s3://bucket/a.txt",
            "unknown scheme 's3'; the kinds of sources are text:, hf:, tfds: and builtin:python-docs",
        ),
        ("0.5*builtin:python-docs+0.5*s3:b", "'s3:b': unknown scheme 's3'"),
        ("0*text:a.txt+1*text:b.txt", "the weight 0 must be a number above 0"),
        ("1.2.3*text:a.txt", "the weight 1.2.3 must be a number above 0"),
        ("text:a.txt+0.5*text:b.txt", "'text:a.txt' has no weight"),
        ("hf:#text", "NAME@SPLIT#FIELD is needed"),
        ("tfds:", "NAME@SPLIT#FIELD is needed"),
        ("hf:a#", "NAME@SPLIT#FIELD is needed"),
    ],
)
def test_wrong_specs_are_refused_when_opened(spec, message):
    with pytest.raises(UserError) as error:
        open_corpus(spec)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_python_docs_have_no_fingerprint():
    corpus = open_corpus("builtin:python-docs")
    assert (corpus.spec, corpus.identity) == ("builtin:python-docs", {})


def test_a_mixture_takes_from_every_source_by_weight(folder):
    spec = f"3*text:{folder}/a.txt+1*text:{folder}/b.txt"
    corpus = open_corpus(spec)
    assert list(corpus) == ["a 0", "b 0", "a 1", "a 2", "a 3", "b 1", "a 4", "a 5", "a 6", "b 2", "a 7"]
    assert list(corpus) == list(open_corpus(spec)), "every walk is the same"
    assert corpus.spec == spec


def test_a_mixture_s_identity_follows_each_source_and_the_selection(folder):
    spec = f"0.5*text:{folder}/a.txt+0.5*text:{folder}/b.txt"
    first = open_corpus(spec).identity
    assert open_corpus(spec, Selection(min_characters=2)).identity == {**first, "min_characters": 2}
    (folder / "b.txt").write_text("another")
    assert open_corpus(spec).identity != first


def test_a_star_in_a_path_is_no_weight(folder):
    assert list(open_corpus(f"{folder}/2*.txt")) == ["a star"]


def test_a_selection_applies_to_a_single_source(folder):
    path = str(folder / "a.txt")
    assert list(open_corpus(path, Selection(max_documents=2))) == ["a 0", "a 1"]
    assert open_corpus(path, Selection()).identity == open_corpus(path).identity
    with pytest.raises(UserError, match="every document has under 4 characters"):
        list(open_corpus(path, Selection(min_characters=4)))


def test_an_empty_source_of_a_mixture_is_refused(folder):
    (folder / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match="no text in it"):
        list(open_corpus(f"0.9*text:{folder}/a.txt+0.1*text:{folder}/empty.txt"))


@pytest.mark.parametrize(
    ("spec", "package"),
    [("hf:a", "datasets"), ("tfds:a", "tensorflow-datasets")],
)
def test_a_missing_library_is_one_line_that_says_what_to_install(monkeypatch, spec, package):
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(UserError) as error:
        open_corpus(spec)
    assert f"needs the package {package}" in str(error.value)
    assert "pip install 'mobilebert-jax[data]'" in str(error.value) and "\n" not in str(error.value)


def test_the_libraries_are_imported_by_nobody_who_does_not_need_them(folder):
    program = (
        "import sys\n"
        "from mobilebert_jax.recipes.run import run_recipe\n"
        "from mobilebert_jax.text.corpora import open_corpus\n"
        "list(open_corpus(sys.argv[1]))\n"
        "assert not {'datasets', 'tensorflow_datasets', 'sentencex', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder / "a.txt")], check=True)
