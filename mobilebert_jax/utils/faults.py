"""What the machine refuses (a full disk, a read-only folder), found under whatever a library has wrapped it in."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR}
"""Errors of files and disks that no program can mend."""

# Rust's libraries and TensorStore say it in words: 'OS error 28', "os_error_code='28'".
_IN_TEXT = re.compile(r"os[ _]error(?:_code=')? ?(\d+)", re.IGNORECASE)


def machine_fault(error: BaseException) -> str | None:
    """The system's words, with the file's name where it is known; None where the machine is not at fault."""
    found = _find(error)
    if found is None:
        return None
    code, name = found
    return f"{name}: {os.strerror(code)}" if name else os.strerror(code)


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Lets what the machine refuses while `path` is written name it, whatever a library made of the refusal.

    Raises:
        OSError: with `filename`, in place of an error that has none. Others pass.
    """
    try:
        yield
    except Exception as error:
        found = _find(error)
        if found is None or found[1]:
            raise
        raise OSError(found[0], os.strerror(found[0]), str(path)) from error


def _find(error: BaseException | None) -> tuple[int, str] | None:
    """The number and the file's name of the first refusal in an error's history."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in MACHINE:
            return error.errno, str(error.filename or "")
        found = _IN_TEXT.search(str(error))
        if found and int(found[1]) in MACHINE:
            return int(found[1]), ""
        error = error.__cause__ or error.__context__
    return None
