import gzip
import json
import lzma
import os

import pytest
import zstandard

from mobilebert_jax.text.corpora import open_corpus
from mobilebert_jax.utils.errors import UserError

TEXT = "First paragraph.\n  Second one.  \n\n \n\nAnother document — with a dash.\n"
DOCUMENTS = ["First paragraph.\nSecond one.", "Another document — with a dash."]
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


def write(path, text, pack=bytes):
    path.write_bytes(pack(text.encode()))
    return str(path)


@pytest.mark.parametrize("suffix", PACK)
def test_blank_lines_separate_documents_in_plain_and_compressed_files(tmp_path, suffix):
    corpus = open_corpus(write(tmp_path / f"a.txt{suffix}", TEXT, PACK[suffix]))
    assert list(corpus) == DOCUMENTS
    assert list(corpus) == DOCUMENTS, "a corpus can be walked again"


def test_a_file_without_blank_lines_is_one_document(tmp_path):
    assert list(open_corpus(write(tmp_path / "a.txt", "One.\r\nTwo.\r\n"))) == ["One.\nTwo."]


def test_json_lines_hold_a_document_each(tmp_path):
    lines = [json.dumps({"text": "One.\n\n Two. ", "id": 1}), "", json.dumps({"text": " "}), '{"text": "é\\ud800"}']
    assert list(open_corpus(write(tmp_path / "a.jsonl", "\n".join(lines)))) == ["One.\nTwo.", "é?"]


def test_globs_take_files_in_order_and_the_spec_is_kept(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / f"{name}.txt", name)
    spec = f"text:{tmp_path}/*.txt"
    corpus = open_corpus(spec)
    assert list(corpus) == ["a", "b"]
    assert corpus.spec == spec


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert list(open_corpus(write(tmp_path / "a.txt", "\ufeffHello."))) == ["Hello."]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{}/gone.txt", "no such file"),
        ("{}/*.txt", "no such file"),
        ("{}", r"this is a folder; name a file or a glob such as .*\*\.txt, or hf:"),
        ("{}/a.csv", "neither .txt nor .jsonl"),
        ("{}/a.csv#body", "neither .txt nor .jsonl"),
        ("text:{}/b.txt.gz#body", "b.txt.gz has no fields; only a .jsonl has"),
    ],
)
def test_wrong_paths_are_refused_when_opened(tmp_path, spec, message):
    for name in ("a.csv", "b.txt.gz"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=message):
        open_corpus(spec.format(tmp_path))


def test_another_field_of_json_lines_is_named_behind_the_path(tmp_path):
    write(tmp_path / "a.jsonl", '{"text": "no", "body": "yes"}')
    assert (
        list(open_corpus(f"{tmp_path}/a.jsonl#body")) == list(open_corpus(f"text:{tmp_path}/*.jsonl#body")) == ["yes"]
    )


def test_a_sharp_may_be_part_of_a_file_s_name(tmp_path):
    assert list(open_corpus(write(tmp_path / "c#.txt", "One."))) == ["One."]
    assert list(open_corpus(f"{tmp_path}/c#*")) == ["One."]


def test_the_identity_follows_the_content_not_the_place(tmp_path):
    first = open_corpus(write(tmp_path / "a.txt", "One.\n\nTwo.")).identity
    assert open_corpus(write(tmp_path / "b.txt", "One.\n\nTwo.")).identity == first
    assert open_corpus(write(tmp_path / "a.txt", "One.\n\nTen.")).identity != first


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b" \n\n", "no text in it"),
        ("a.txt", b"caf\xe9", r"not UTF-8 text \(line 1, byte 3: unexpected end of data\)"),
        ("a.txt.gz", b"plain", "cannot be read"),
        ("a.txt.xz", b"plain", "cannot be read"),
        ("a.txt.zst", b"plain", "cannot be read"),
        ("a.jsonl", b'{"text": "x"}\nnonsense', "line 2"),
        ("a.jsonl", b'{"text": "x"}\n[1]', 'line 2: every line must be a JSON object with a field "text"'),
        ("a.jsonl", b'{"body": "x", "id": 1}', 'line 1: no field "text"; the fields are body, id'),
        ("a.jsonl", b'{"text": 5}', '"text" is int'),
    ],
)
def test_bad_files_are_named_while_reading(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        list(open_corpus(str(tmp_path / name)))
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_files_cut_short_are_noticed(tmp_path, suffix):
    packed = PACK[suffix]("".join(f"Line {i}.\n\n" for i in range(5000)).encode())
    (tmp_path / f"a.txt{suffix}").write_bytes(packed[:-9])
    with pytest.raises(UserError, match="the file must be whole"):
        list(open_corpus(str(tmp_path / f"a.txt{suffix}")))


def test_zstd_frames_one_after_another_are_one_text(tmp_path):
    frames = b"".join(zstandard.compress(part.encode()) for part in ("One.\n\nTw", "o.\n\n", "Three."))
    (tmp_path / "a.txt.zst").write_bytes(frames)
    assert list(open_corpus(str(tmp_path / "a.txt.zst"))) == ["One.", "Two.", "Three."]


def test_one_empty_file_of_several_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("Text.")
    (tmp_path / "b.txt").write_text(" \n\n")
    with pytest.raises(UserError, match=r"corpus .*\*\.txt': .*b\.txt: no text in it"):
        list(open_corpus(f"{tmp_path}/*.txt"))


def test_bytes_that_are_not_utf_8_can_be_replaced(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"The caf\xe9 is open.")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "The caf\xe9 is open."}')
    for name in ("a.txt", "a.jsonl"):
        corpus = open_corpus(f"{tmp_path}/{name}", errors="replace")
        assert list(corpus) == ["The caf\ufffd is open."] and corpus.identity["errors"] == "replace"
        with pytest.raises(UserError, match="go on with --errors=replace"):
            list(open_corpus(f"{tmp_path}/{name}"))


@pytest.mark.parametrize("suffix", [".txt", ".txt.xz"])
def test_a_walk_tells_how_far_it_has_come(tmp_path, suffix):
    for name in "ab":
        text = "\n\n".join(os.urandom(3000).hex() for _ in range(100)).encode()
        (tmp_path / f"{name}{suffix}").write_bytes(lzma.compress(text) if suffix.endswith("xz") else text)
    corpus = open_corpus(f"{tmp_path}/*{suffix}")
    assert corpus.progress() is None
    shares = [corpus.progress() for _ in corpus]
    assert shares == sorted(shares) and 0.4 < shares[99] < 0.6 and shares[-1] > 0.95
