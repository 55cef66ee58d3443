"""A folder here and one in a bucket become the same, whatever was cut short."""

import os

import pytest

from mobilebert_jax.recipes.mirror import CONTENTS, Mirror
from mobilebert_jax.utils.addresses import RemoteFolder
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import UNFINISHED


@pytest.fixture
def remote(bucket):
    return RemoteFolder(bucket, "--workdir")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def write(folder, **files):
    """name__with__folders=content."""
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def held(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def writer(remote, folder):
    mirror = Mirror(remote, folder)
    mirror.fetch()
    mirror.begin()
    return mirror


def test_what_was_kept_is_fetched_elsewhere(remote, folder, tmp_path):
    mirror = writer(remote, folder)
    write(folder, config="{}", teacher__model__weights="one", teacher__metrics="1\n")
    mirror.keep()
    write(folder, teacher__metrics="1\n2\n")
    mirror.keep()
    Mirror(remote, tmp_path / "there").fetch()
    assert held(tmp_path / "there") == held(folder)
    assert held(folder) == {"config": "{}", "teacher/model/weights": "one", "teacher/metrics": "1\n2\n"}


def test_only_what_differs_travels(remote, folder, monkeypatch):
    mirror = writer(remote, folder)
    write(folder, large="weights", small="a")
    mirror.keep()
    travelled = []
    for way in ("put", "get"):
        done = getattr(RemoteFolder, way)
        monkeypatch.setattr(RemoteFolder, way, lambda *words, done=done: travelled.append(words[1:]) or done(*words))
    mirror.keep()
    again = writer(remote, folder)
    assert travelled == []
    write(folder, small="b")
    again.keep()
    assert [words[1] for words in travelled] == ["small"]
    remote.write("large", b"changed")
    Mirror(remote, folder).fetch()
    assert held(folder) == {"large": "changed", "small": "b"} and [words[0] for words in travelled[1:]] == ["large"]


def test_half_of_what_was_being_brought_there_is_not_fetched(remote, folder, tmp_path, monkeypatch):
    mirror = writer(remote, folder)
    write(folder, config="{}")
    mirror.keep()
    write(folder, teacher__model__config="{}", teacher__model__weights="w")
    put = RemoteFolder.put

    def dies(self, path, name):
        if path.name == "weights":
            raise UserError("the machine was taken away")
        return put(self, path, name)

    monkeypatch.setattr(RemoteFolder, "put", dies)
    with pytest.raises(UserError):
        mirror.keep()
    assert "teacher/model/config" in remote.list()
    Mirror(remote, tmp_path / "there").fetch()
    assert held(tmp_path / "there") == {"config": "{}"} and not (tmp_path / "there" / "teacher").exists()
    monkeypatch.undo()
    mirror.keep()
    Mirror(remote, tmp_path / "there").fetch()
    assert held(tmp_path / "there") == held(folder)


def test_the_very_first_half_is_not_fetched_either(remote, folder, tmp_path):
    writer(remote, folder)
    remote.write("teacher/model/config", b"{}")
    Mirror(remote, tmp_path / "there").fetch()
    assert held(tmp_path / "there") == {}


def test_a_run_that_somebody_copied_to_the_bucket_counts_as_it_is(remote, folder):
    remote.write("teacher/model/config", b"{}")
    remote.write("teacher/checkpoints/5/state", b"large")
    Mirror(remote, folder).fetch()
    assert held(folder) == {"teacher/model/config": "{}"}


def test_a_damaged_list_is_one_line(remote, folder):
    remote.write(CONTENTS, b"[half")
    with pytest.raises(UserError, match=r"/\.contents\.json: damaged; remove it"):
        Mirror(remote, folder).fetch()


def test_what_the_bucket_does_not_have_goes(remote, folder):
    mirror = writer(remote, folder)
    write(folder, teacher__model__weights="one", config="{}")
    mirror.keep()
    for name in remote.list():
        remote.remove(name)
    Mirror(remote, folder).fetch()
    assert list(folder.iterdir()) == []


def test_what_is_being_written_stays_here(remote, folder):
    mirror = writer(remote, folder)
    write(folder, **{f"{UNFINISHED}model__weights": "h", "done": "d", ".lock": "1"})
    mirror.keep()
    assert set(remote.list()) == {"done", CONTENTS}


def test_a_file_that_is_lost_here_stays_in_the_bucket(remote, folder):
    mirror = writer(remote, folder)
    write(folder, teacher__model__weights="one", config="{}")
    mirror.keep()
    (folder / "teacher" / "model" / "weights").unlink()
    write(folder, config="{ }")
    mirror.keep()
    writer(remote, folder)
    assert held(folder) == {"teacher/model/weights": "one", "config": "{ }"}


def test_a_new_file_of_events_takes_the_place_of_the_old_one(remote, folder):
    mirror = writer(remote, folder)
    write(folder, **{"teacher__events.out.tfevents.1": "old"})
    mirror.keep()
    os.rename(folder / "teacher" / "events.out.tfevents.1", folder / "teacher" / "events.out.tfevents.2")
    mirror.keep()
    assert set(remote.list()) == {"teacher/events.out.tfevents.2", CONTENTS}


def test_what_a_refusal_took_away_goes_from_the_bucket_but_nothing_older(remote, folder):
    mirror = writer(remote, folder)
    write(folder, config="{}", data__shard="s")
    mirror.keep()
    (folder / "config").unlink()
    mirror.forget("config", "data")
    assert set(remote.list()) == {"data/shard", CONTENTS}
    write(folder, config="{}")
    mirror.keep()
    later = writer(remote, folder)
    (folder / "config").unlink()
    later.forget("config", "data")
    assert set(remote.list()) == {"config", "data/shard", CONTENTS}


def test_a_refusal_of_a_new_run_leaves_nothing(remote, folder):
    mirror = writer(remote, folder)
    mirror.forget("config", "data")
    assert remote.list() == {}
