"""Files appear whole or not at all."""

import hashlib

import pytest

from mobilebert_jax.utils.files import (
    atomic_folder,
    atomic_path,
    file_sha256,
    read_json,
    remove_unfinished,
    write_json,
    write_text,
)


def test_a_finished_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "deep" / "out.npy"
    for content in (b"old", b"new"):
        with atomic_path(target) as temporary:
            assert temporary.parent == target.parent and temporary.suffix == ".npy"
            temporary.write_bytes(content)
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "out.txt"
    write_text(target, "old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_first_write_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="no"), atomic_path(tmp_path / "out.txt"):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_json_survives_and_stays_readable(tmp_path):
    value = {"naïve": ["日本", 1.5, None, True]}
    write_json(tmp_path / "v.json", value)
    text = (tmp_path / "v.json").read_text(encoding="utf-8")
    assert "日本" in text and "naïve" in text and text.endswith("}\n")
    assert read_json(tmp_path / "v.json") == value


def test_an_unserialisable_value_leaves_the_old_json(tmp_path):
    write_json(tmp_path / "v.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "v.json", object())
    assert read_json(tmp_path / "v.json") == 1


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "b").write_bytes(b"abc")
    assert file_sha256(tmp_path / "b") == hashlib.sha256(b"abc").hexdigest()


def test_a_finished_folder_replaces_the_old_one_whole_and_leaves_nothing_else(tmp_path):
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "m") as temporary:
            (temporary / name).write_text(name)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path, error):
    with atomic_folder(tmp_path / "m") as temporary:
        (temporary / "old").write_text("old")
    with pytest.raises(error), atomic_folder(tmp_path / "m") as temporary:
        (temporary / "half").write_text("new")
        raise error
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]


def test_what_was_being_written_is_removed_and_nothing_else(tmp_path):
    written = [tmp_path / "a.txt", tmp_path / "deep" / "b.txt", tmp_path / "deep" / ".hidden"]
    for path in written:
        write_text(path, "whole")
    # What a process that is killed in the middle of either leaves.
    with pytest.raises(_Killed), atomic_path(tmp_path / "deep" / "b.txt") as temporary:
        left = (temporary, temporary.with_name(temporary.name + "x"))
        left[1].write_text("half")
        raise _Killed
    with pytest.raises(_Killed), atomic_folder(tmp_path / "deep" / "m") as temporary:
        (temporary.parent.with_name(temporary.parent.name + "y") / "new").mkdir(parents=True)
        raise _Killed
    assert len(list((tmp_path / "deep").iterdir())) == 4
    remove_unfinished(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    assert sorted(tmp_path.rglob("*")) == sorted([*written, tmp_path / "deep"])


class _Killed(BaseException):
    pass
