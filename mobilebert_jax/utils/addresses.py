"""Folders that lie elsewhere, such as `gs://bucket/run`: read and written through fsspec, refused in one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mobilebert_jax.utils.errors import UserError

EXTRAS = {"gs": "gcs", "gcs": "gcs"}
"""Kind of address -> the extra that can read it."""

VERSIONS = ("generation", "etag", "ETag", "updated", "LastModified", "created", "mtime")
"""What file systems call the field that changes with a file's content; the first that is there counts."""

LOG_IN = (
    "log in with `gcloud auth application-default login`, or give this machine's account the roles Storage Object "
    "User and Storage Legacy Bucket Reader on the bucket"
)


class Found(NamedTuple):
    """One file elsewhere; `version` changes whenever it is written."""

    version: str
    size: int


def is_address(path: str | Path) -> bool:
    """True for `gs://bucket/run` and whatever else is no path of this machine."""
    return "://" in str(path)


def below(folder: str | Path, *names: str) -> str:
    """What lies in a folder or at an address, as it is called."""
    return "/".join((str(folder).rstrip("/"), *names)) if is_address(folder) else str(Path(folder, *names))


def missing_package(address: str, error: ImportError) -> str:
    """What to install for this kind of address."""
    extra = EXTRAS.get(address.partition(":")[0])
    return f"pip install 'mobilebert-jax[{extra}]'" if extra else _one_line(error)


class RemoteFolder:
    """The folder at an address. Files are named by their paths below it; every write of one appears whole.

    All methods raise UserError, one line that begins with `option=address`, unless they say otherwise.
    """

    def __init__(self, address: str, option: str):
        self.address = address.rstrip("/")
        self._option = option
        with self._in_one_line():
            import fsspec

            # Other processes write there too.
            self._files, self._root = fsspec.core.url_to_fs(self.address, use_listings_cache=False)

    def check_bucket(self) -> None:
        """Asks a bucket of Google's for its kind: Orbax does when it first deletes a checkpoint, perhaps days later."""
        if self.address.startswith("gs://"):
            with self._in_one_line():
                from google.api_core.exceptions import NotFound
                from google.cloud import storage

                try:
                    storage.Client().get_bucket(self.address.split("/")[2])
                except NotFound as error:
                    raise UserError(f"{self._named}: no such bucket") from error

    def list(self, below: str = "") -> dict[str, Found]:
        """Name -> version and size of every file there is."""
        with self._in_one_line():
            try:
                found = self._files.find(self._path(below) if below else self._root, detail=True)
            except FileNotFoundError as error:
                raise UserError(f"{self._named}: no such bucket") from error
            skipped = len(self._root) + 1
            files = {path[skipped:]: Found(_version(info), info["size"] or 0) for path, info in found.items()}
            return {name: file for name, file in files.items() if name and not name.endswith("/")}

    def read(self, name: str) -> bytes | None:
        """What a file holds; None where there is none."""
        with self._in_one_line():
            try:
                return self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, or writes it anew."""
        with self._in_one_line():
            self._files.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Writes a file unless there is one; of several who try at the same moment one gets True."""
        with self._in_one_line():
            try:
                self._files.pipe_file(self._path(name), content, mode="create")
            except FileExistsError:
                return False
            except FileNotFoundError as error:
                raise UserError(f"{self._named}: no such bucket") from error
            return True

    def modified(self, name: str) -> float | None:
        """Seconds since 1970 by the clock over there; None where there is no such file."""
        with self._in_one_line():
            try:
                return self._files.modified(self._path(name)).timestamp()
            except FileNotFoundError:
                return None

    def put(self, path: Path, name: str) -> bool:
        """Copies a file of this machine there; False where it has gone meanwhile."""
        with self._in_one_line():
            try:
                self._files.put_file(str(path), self._path(name))
            except FileNotFoundError:
                if path.exists():
                    raise
                return False
            return True

    def get(self, name: str, path: Path) -> bool:
        """Copies a file from there; False where it has gone meanwhile. A kill may leave a part of it."""
        with self._in_one_line():
            try:
                self._files.get_file(self._path(name), str(path))
            except FileNotFoundError:
                return False
            return True

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        with self._in_one_line(), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    @property
    def _named(self) -> str:
        return f"{self._option}={self.address}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _in_one_line(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except ImportError as error:
            which = missing_package(self.address, error)
            raise UserError(f"{self._named}: cannot be reached without another package; {which}") from error
        except Exception as error:  # of whatever library reads such addresses
            hint = f"; {LOG_IN}" if _is_refusal(error) else ""
            raise UserError(f"{self._named}: cannot be reached ({_one_line(error)}){hint}") from error


def _version(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in VERSIONS if info.get(name)), "")


def _is_refusal(error: Exception) -> bool:
    """Whether the other side does not know us, or does not let us; gcsfs says 403 in words."""
    code = str(getattr(error, "code", ""))
    of_login = type(error).__module__.startswith("google.auth")
    return code in ("401", "403") or of_login or isinstance(error, PermissionError) or "Forbidden" in str(error)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
