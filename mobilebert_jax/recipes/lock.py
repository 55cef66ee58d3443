"""One process at a time in a workdir: a lock that the kernel gives back however its holder ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mobilebert_jax.text.shards import Share
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.files import remove_unfinished

NAME = ".lock"


@contextlib.contextmanager
def locked(workdir: str | Path, wait: bool = False) -> Iterator[None]:
    """Holds `workdir`/.lock, which contains the holder's pid; makes the folder where it is missing.

    The file is removed in the end, and so is a folder that was made for it and stayed empty. A process that was killed
    leaves the file behind, but not the lock; what it left half-written is removed by the next one.

    Raises:
        UserError: another process holds the lock (with `wait` its end is waited for), or there can be no such folder.
    """
    existed = Path(workdir).exists()
    path = make_workdir(workdir) / NAME
    handle = _acquire(path, wait=wait)
    try:
        remove_unfinished(workdir)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
        if not existed:
            with contextlib.suppress(OSError):
                path.parent.rmdir()


@contextlib.contextmanager
def locked_share(workdir: str | Path, share: Share) -> Iterator[None]:
    """Holds `workdir` against whoever wants it alone, together with those that work on other shares of the same text.

    Raises:
        UserError: another process has the folder, or this share of it; or there can be no such folder.
    """
    common = _acquire(make_workdir(workdir) / NAME, fcntl.LOCK_SH)
    try:
        own = Path(workdir, f"{NAME}-{share.index}-of-{share.of}")
        handle = _acquire(own)
        try:
            yield
        finally:
            own.unlink(missing_ok=True)
            os.close(handle)
    finally:
        os.close(common)


def make_workdir(workdir: str | Path) -> Path:
    """The folder, made where it is missing; UserError where that is impossible."""
    workdir = Path(workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: {error.strerror}; give a folder that can be written") from error
    return workdir


def _acquire(path: Path, mode: int = fcntl.LOCK_EX, wait: bool = False) -> int:
    """An open, locked file with our pid in it; with LOCK_SH others may hold it in that mode too."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(f"--workdir={path.parent}: {error.strerror}; give a folder that can be written") from error
        try:
            fcntl.flock(handle, mode if wait else mode | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise UserError(
                f"--workdir={path.parent}: another process (pid {holder}) works there; wait for its end, or give "
                "another folder"
            ) from None
        if _still_there(path, handle):
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
            return handle
        os.close(handle)


def _still_there(path: Path, handle: int) -> bool:
    """Whether the locked file is the one at `path`: its last holder may have removed it after we had opened it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
