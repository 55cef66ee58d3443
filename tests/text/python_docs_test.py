import hashlib
import subprocess
import sys

import pytest

from mobilebert_jax.text import python_library
from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.text.python_library import library_docstrings, pydoc_topics
from mobilebert_jax.utils.errors import UserError


@pytest.fixture(scope="module")
def corpus():
    return list(open_corpus("builtin:python-docs"))


def test_the_library_gives_more_than_a_megabyte_of_prose(corpus):
    assert sum(map(len, corpus)) > 1_000_000
    assert len(corpus) > 400


def test_paragraphs_are_clean_and_come_once(corpus):
    paragraphs = [paragraph for document in corpus for paragraph in document.split("\n")]
    assert len(set(paragraphs)) == len(paragraphs)
    assert all(paragraph == paragraph.strip() != "" for paragraph in paragraphs)
    assert not any(paragraph.startswith((">>>", "def ", "==")) or "::=" in paragraph for paragraph in paragraphs)


def test_known_prose_is_there(corpus):
    text = "\n".join(corpus)
    assert "Deserialize s (a str, bytes or bytearray instance containing a JSON document)" in text
    assert "Assert statements are a convenient way to insert debugging assertions into a program" in text


def test_documents_come_in_the_same_order_in_every_process(corpus):
    program = (
        "import hashlib\nfrom mobilebert_jax.text.corpora import open_corpus\n"
        "print(hashlib.sha256('\\n\\n'.join(open_corpus('builtin:python-docs')).encode()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == hashlib.sha256("\n\n".join(corpus).encode()).hexdigest(), run.stderr


def test_docstrings_have_qualified_names_and_kinds():
    found = {(entry.module, entry.name): entry.kind for entry in library_docstrings()}
    assert found["json", ""] == "module"
    assert found["json", "loads"] == "function"
    assert found["json.decoder", "JSONDecoder"] == "class"
    assert found["json.decoder", "JSONDecoder.decode"] == "method"
    assert not any(module.split(".")[0] in ("test", "idlelib", "turtledemo") for module, _ in found)
    assert not any("site-packages" in module for module, _ in found)


def test_nothing_is_imported_to_be_read():
    program = (
        "import sys\nfrom mobilebert_jax.text.python_library import library_docstrings, pydoc_topics\n"
        "library_docstrings(), pydoc_topics()\n"
        "print({'turtle', 'tkinter', 'antigravity', 'this', 'smtplib', 'pydoc_data.topics'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr


def fake_library(monkeypatch, root):
    monkeypatch.setattr(python_library.sysconfig, "get_path", lambda name: str(root))
    python_library.library_docstrings.cache_clear()


@pytest.fixture
def restored_library():
    yield
    python_library.library_docstrings.cache_clear()


def test_a_library_of_ones_own(monkeypatch, tmp_path, restored_library):
    (tmp_path / "pack" / "tests").mkdir(parents=True)
    (tmp_path / "pack" / "tests" / "inner.py").write_text('"""Not this."""')
    (tmp_path / "pack" / "__init__.py").write_text(
        'try:\n    def f():\n        """In try."""\nexcept E:\n    class C:\n        """In except."""\n'
        '        def m(self):\n            """Method."""\n            def inner():\n                """Hidden."""\n'
    )
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "config-3").mkdir()
    (tmp_path / "config-3" / "x.py").write_text('"""Not a module."""')
    fake_library(monkeypatch, tmp_path)
    assert [(entry.module, entry.name, entry.text) for entry in library_docstrings()] == [
        ("pack", "f", "In try."),
        ("pack", "C", "In except."),
        ("pack", "C.m", "Method."),
    ]
    assert pydoc_topics() == {}


def test_a_python_without_sources_is_refused(monkeypatch, tmp_path, restored_library):
    fake_library(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="no Python sources"):
        library_docstrings()
