"""What `serve` gives to a browser, and what it gives to nobody."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from mobilebert_jax.export.web.server import WebServer


@pytest.fixture
def folder(tmp_path):
    """A page without a model."""
    page = tmp_path / "page"
    (page / "model").mkdir(parents=True)
    (page / "index.html").write_text("<title>page</title>")
    (page / "worker.js").write_text("1")
    (page / "ort.mjs").write_text("1")
    (page / "ort.wasm").write_bytes(b"\0asm")
    (page / "model" / "model.onnx").write_bytes(bytes(range(256)))
    (page / "export.json").write_text(json.dumps({"format": "web"}))
    (tmp_path / "secret.txt").write_text("secret")
    (page / "link.txt").symlink_to(tmp_path / "secret.txt")
    return page


@pytest.fixture
def get(folder):
    """Asks for a path exactly as it is written: (status, headers, content)."""
    with WebServer(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(path, method="GET"):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

        yield ask
        server.shutdown()


def test_files_come_with_the_types_that_browsers_ask_for(get):
    types = {
        "/": "text/html; charset=utf-8",
        "/worker.js?v=1": "text/javascript; charset=utf-8",
        "/ort.mjs": "text/javascript; charset=utf-8",
        "/ort.wasm": "application/wasm",
        "/model/model.onnx": "application/octet-stream",
    }
    for path, expected in types.items():
        status, headers, _ = get(path)
        assert (status, headers["Content-Type"]) == (200, expected)
        # What a page needs to be given threads.
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert get("/model/model.onnx")[2] == bytes(range(256))
    assert get("/model/model.onnx", "HEAD")[1]["Content-Length"] == "256"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/model/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/model/..%2f..%2fsecret.txt",
        "//etc/passwd",
        "/link.txt",
        "/%00",
        "/" + "a" * 5000,
        "/model/",
        "/model",
        "/nothing",
    ],
)
def test_nothing_else_is_given(get, path):
    status, _, content = get(path)
    assert status in (301, 404) and b"secret" not in content and b"root:" not in content


def test_it_only_reads(get):
    for method in ("POST", "PUT", "DELETE"):
        assert get("/index.html", method)[0] == 501


def serving(*options):
    command = [sys.executable, "-m", "mobilebert_jax", "serve", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_stopped(folder, number):
    process = serving(f"--web={folder}", "--port=0")
    try:
        url = process.stdout.readline().split()[0]
        port = int(url.rstrip("/").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"<title>page</title>"
        os.kill(process.pid, number)
        out, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out, error) == (0, "", "")


def test_a_port_that_is_taken_is_one_line(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = serving(f"--web={folder}", f"--port={port}")
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert error == f"mobilebert: --port={port}: Address already in use; give another, or 0 for one that is free\n"
