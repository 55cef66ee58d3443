"""What the machine refuses (a full disk, a read-only folder), found under whatever a library has wrapped it in."""

import errno
import os
import re

MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR}
"""Errors of files and disks that no program can mend."""

_IN_TEXT = re.compile(r"os error (\d+)", re.IGNORECASE)  # Rust's libraries and TensorStore say it in words


def machine_fault(error: BaseException) -> str | None:
    """The system's words, with the file's name where it is known; None where the machine is not at fault."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in MACHINE:
            name = f"{error.filename}: " if error.filename else ""
            return name + os.strerror(error.errno)
        found = _IN_TEXT.search(str(error))
        if found and int(found[1]) in MACHINE:
            return os.strerror(int(found[1]))
        error = error.__cause__ or error.__context__
    return None
