"""Where a run works: a folder as it is, or one of this machine for an address."""

import threading
import time
from pathlib import Path

import pytest

from mobilebert_jax.recipes import place
from mobilebert_jax.recipes.lock import locked
from mobilebert_jax.recipes.place import folder_of, local_copy, looked_into, opened, prepared_alone
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.utils.addresses import RemoteFolder
from mobilebert_jax.utils.cache import CACHE
from mobilebert_jax.utils.errors import Stopped, UserError


def there(address):
    return set(RemoteFolder(address, "--workdir").list())


def test_a_folder_is_worked_in_as_it_is(tmp_path):
    threads = threading.active_count()
    with opened(tmp_path / "run", Stopper()) as found:
        assert found.folder == tmp_path / "run" and threading.active_count() == threads
        assert found.checkpoints("teacher") == tmp_path / "run" / "teacher" / "checkpoints"
        (found.folder / "config.json").write_text("{}")
        found.keep_soon()
        found.share()
        assert found.put("config.json") == str(tmp_path / "run" / "config.json")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_what_a_run_leaves_lasts_whether_it_ends_or_stops(bucket):
    with pytest.raises(Stopped), opened(bucket, Stopper()) as found:
        assert found.checkpoints("teacher") == f"{bucket}/teacher/checkpoints"
        (found.folder / "config.json").write_text("{}")
        raise Stopped("received SIGTERM")
    assert there(bucket) == {"config.json", ".contents.json"}
    with opened(f"{bucket}/", Stopper()) as found:
        assert (found.folder / "config.json").read_text() == "{}"


def test_what_is_written_lasts_within_a_while_and_soon_where_a_checkpoint_is_saved(bucket, monkeypatch):
    def until_there(name):
        deadline = time.monotonic() + 20
        while name not in there(bucket) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert name in there(bucket)

    with opened(bucket, Stopper()) as found:
        (found.folder / "metrics.jsonl").write_text("1\n")
        found.keep_soon()
        until_there("metrics.jsonl")
    monkeypatch.setattr(place, "EVERY", 0.05)
    with opened(bucket, Stopper()) as found:
        (found.folder / "shard").write_text("1")
        until_there("shard")


def test_a_refusal_speaks_of_the_address_and_leaves_nothing(bucket):
    with pytest.raises(UserError) as error, opened(bucket, Stopper()) as found:
        raise UserError(f"{found.folder / 'config.json'}: not this one")
    assert str(error.value) == f"{bucket}/config.json: not this one"
    assert there(bucket) == set()


def test_a_page_is_added_to_a_run_elsewhere_and_to_one_at_work_here(bucket, tmp_path, monkeypatch):
    with opened(bucket, Stopper()) as found:
        (found.folder / "config.json").write_text("{}")
    monkeypatch.setenv(CACHE, str(tmp_path / "another machine"))
    with looked_into(bucket) as seen:
        assert (seen.folder / "config.json").exists()
        (seen.folder / "report.html").write_text("page")
        assert seen.put("report.html") == f"{bucket}/report.html"
    assert "report.html" in there(bucket)
    with locked(folder_of(bucket)), looked_into(bucket) as seen:
        (seen.folder / "report.html").write_text("new page")
        seen.put("report.html")
    assert RemoteFolder(bucket, "--workdir").read("report.html") == b"new page"


def test_a_model_at_an_address_is_copied_here(bucket, tmp_path):
    remote = RemoteFolder(bucket, "--model")
    with pytest.raises(UserError, match=f"^--model={bucket}/model: nothing there$"):
        local_copy(f"{bucket}/model", "--model")
    remote.write("model/config.json", b"{}")
    copy = Path(local_copy(f"{bucket}/model", "--model"))
    assert copy.is_relative_to(tmp_path / "cache") and [path.name for path in copy.iterdir()] == ["config.json"]
    assert local_copy("runs/demo/model", "--model") == "runs/demo/model"


def test_shares_of_a_text_need_a_folder(tmp_path):
    prepared_alone(tmp_path, "0/2")
    with pytest.raises(UserError, match=r"^--shard=0/2: .* gs://b/run is none"):
        prepared_alone("gs://b/run", "0/2")


def test_addresses_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path))
    folders = {folder_of(address) for address in ("gs://b/run", "gs://b-run", "gs://b/run/1", "s3://b/run")}
    assert len(folders) == 4 and all(folder.parent == tmp_path / "runs" for folder in folders)
    assert folder_of("gs://b/run/") == folder_of("gs://b/run")
    monkeypatch.delenv(CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder_of("gs://b/run").is_relative_to(tmp_path / "xdg" / "mobilebert")
