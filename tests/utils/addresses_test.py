"""Folders in a bucket: what is written is there as a whole, what is refused is one line."""

import http.server
import json
import threading

import pytest

from mobilebert_jax.utils.addresses import RemoteFolder, below, is_address
from mobilebert_jax.utils.errors import UserError
from tests.buckets import hide_gcsfs


@pytest.fixture(params=["gs", "memory"])
def folder(request, bucket):
    """The same of a bucket and of another kind of file system."""
    return RemoteFolder(bucket if request.param == "gs" else f"memory://{bucket.partition('://')[2]}", "--workdir")


def test_files_come_and_go_by_their_names(folder, tmp_path):
    assert folder.list() == {} and folder.read("a/b") is None and folder.modified("a/b") is None
    (tmp_path / "one").write_bytes(b"first")
    assert folder.put(tmp_path / "one", "a/b")
    folder.write("c", b"")
    assert {name: found.size for name, found in folder.list().items()} == {"a/b": 5, "c": 0}
    assert list(folder.list("a")) == ["a/b"]
    assert folder.get("a/b", tmp_path / "two") and (tmp_path / "two").read_bytes() == b"first"
    folder.remove("c")
    folder.remove("c")
    assert list(folder.list()) == ["a/b"] and not folder.get("c", tmp_path / "three")


def test_a_file_that_is_gone_here_is_not_put(folder, tmp_path):
    assert not folder.put(tmp_path / "gone", "a") and folder.list() == {}


def test_a_version_changes_with_every_write_and_only_then(folder):
    folder.write("a", b"x")
    first = folder.list()["a"].version
    assert first and folder.list()["a"].version == first
    folder.write("a", b"x")
    assert folder.list()["a"].version != first


def test_of_many_who_create_a_file_at_once_one_has_done_it(folder):
    outcomes, together = [], threading.Barrier(8)

    def create(number):
        together.wait()
        outcomes.append((folder.create("lock", str(number).encode()), number))

    threads = [threading.Thread(target=create, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if folder.address.startswith("gs"):  # the other kind looks, then writes
        assert sum(done for done, _ in outcomes) == 1
    assert not folder.create("lock", b"late")
    assert int(folder.read("lock")) in [number for done, number in outcomes if done]


def test_another_one_sees_at_once_what_is_written(bucket):
    one, other = (RemoteFolder(bucket, "--workdir") for _ in range(2))
    assert other.list() == {}
    one.write("a", b"1")
    assert list(other.list()) == ["a"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gs://nobody-made-this/run", "no such bucket$"),
        ("nonsense://bucket/run", "cannot be reached .*nonsense"),
    ],
)
def test_an_address_that_is_none_is_one_line(bucket, address, message):
    with pytest.raises(UserError, match=message) as error:
        RemoteFolder(address, "--workdir").list()
    assert str(error.value).startswith(f"--workdir={address}: ") and "\n" not in str(error.value)
    if "made" in address:
        with pytest.raises(UserError, match=r"no such bucket$"):
            RemoteFolder(address, "--workdir").check_bucket()
        with pytest.raises(UserError, match=message):
            RemoteFolder(address, "--workdir").create("lock", b"")


def test_a_missing_library_is_named_by_its_extra(monkeypatch):
    hide_gcsfs(monkeypatch)
    with pytest.raises(UserError, match=r"--workdir=gs://b/run: .*; pip install 'mobilebert-jax\[gcs\]'$"):
        RemoteFolder("gs://b/run", "--workdir")


class Refusing(http.server.BaseHTTPRequestHandler):
    """Says 403 to whatever is asked, as Google does to an account without a role."""

    def do_GET(self):
        body = json.dumps({"error": {"code": 403, "message": "me@x does not have storage.objects.list access"}})
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *words):
        pass


def test_a_bucket_that_lets_nobody_in_says_how_to_be_let_in(bucket, monkeypatch):
    from gcsfs import GCSFileSystem

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        GCSFileSystem.clear_instance_cache()
        try:
            with pytest.raises(UserError, match=r"does not have storage.objects.list access.*; log in with `gcloud"):
                RemoteFolder("gs://bucket/run", "--workdir").list()
            with pytest.raises(UserError, match=r"^--workdir=gs://bucket/run: .*; log in with `gcloud"):
                RemoteFolder("gs://bucket/run", "--workdir").check_bucket()
        finally:
            GCSFileSystem.clear_instance_cache()
            server.shutdown()


def test_addresses_keep_their_slashes():
    assert is_address("gs://b/run") and not is_address("runs/demo") and not is_address("C:/runs")
    assert below("gs://b/run/", "teacher", "model") == "gs://b/run/teacher/model"
    assert below("runs/demo", "model") == "runs/demo/model"
