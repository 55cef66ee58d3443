"""`mobilebert serve`: the question page, the model running in the browser."""

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mobilebert_jax.utils.errors import UserError


def add_serve_options(command: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    command.add_argument("--model", default="", metavar="DIR", help="a model folder; the page is made first")
    command.add_argument("--web", default="", metavar="DIR", help="a page that `export --format=web` has made")
    command.add_argument("--port", type=int, default=8000, help="on this machine; 0: a free one (default: %(default)s)")


def serve(options: argparse.Namespace) -> None:
    """Serves the page to this machine's browsers until Ctrl-C."""
    from mobilebert_jax.export.web.server import WebServer

    if bool(options.model) == bool(options.web):
        raise UserError("serve: give either --model=DIR, a model folder, or --web=DIR, what `export --format=web` made")
    # A service manager's stop is as good as Ctrl-C, which shells take from what they start in the background.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    with _page(options) as folder, WebServer(folder, options.port) as server:
        print(f"{server.url}  (Ctrl-C ends)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


@contextlib.contextmanager
def _page(options: argparse.Namespace) -> Iterator[Path]:
    """The folder to serve."""
    from mobilebert_jax.export.web.folder import check_page, export_web
    from mobilebert_jax.recipes.place import local_copy

    if options.web:
        check_page(options.web)
        yield Path(options.web)
        return
    with tempfile.TemporaryDirectory() as scratch:
        print("making the page ...", file=sys.stderr)
        export_web(local_copy(options.model, "--model"), Path(scratch, "web"))
        yield Path(scratch, "web")
