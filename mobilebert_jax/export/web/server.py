"""A folder of files for a browser on this machine, and for nobody else."""

import http.server
import posixpath
import urllib.parse
from http import HTTPStatus
from pathlib import Path
from typing import Any

from mobilebert_jax.utils.errors import UserError

HOST = "127.0.0.1"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
}
"""Browsers refuse modules and WebAssembly of other types."""

HEADERS = {
    # Without these two a page gets one thread.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The page's own rule, for its workers too.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files below `directory`, whole, and nothing else: no lists of folders, no links that lead out."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mobilebert", ""

    def translate_path(self, path: str) -> str:
        """The file that a request names; of one that leads out of the folder, a file that cannot be."""
        root = Path(self.directory).resolve()
        name = posixpath.normpath(urllib.parse.unquote(urllib.parse.urlsplit(path).path)).lstrip("/")
        try:
            found = (root / name).resolve()
        except (OSError, ValueError):
            return ""
        return str(found) if found.is_relative_to(root) else ""

    def list_directory(self, path: str) -> None:
        """Not shown."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def guess_type(self, path: str) -> str:
        """By the name's ending, the same on every machine."""
        return TYPES.get(Path(path).suffix, "application/octet-stream")

    def end_headers(self) -> None:
        """Adds what every answer says."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: a page asks for its own files."""


class WebServer(http.server.ThreadingHTTPServer):
    """Serves `folder` at `url` from `serve_forever` to `shutdown`.

    `port` 0 takes a free one. Raises UserError when the port is taken or not to be had.
    """

    daemon_threads = True

    def __init__(self, folder: str | Path, port: int = 0):
        def handler(*request: Any) -> _Handler:
            return _Handler(*request, directory=str(folder))

        if not 0 <= port <= 65535:
            raise UserError(f"--port={port}: must be 0 to 65535")
        try:
            super().__init__((HOST, port), handler)
        except OSError as error:
            raise UserError(f"--port={port}: {error.strerror}; give another, or 0 for one that is free") from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, *_: Any) -> None:
        """A browser that went away is no error of ours."""
