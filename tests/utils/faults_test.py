import errno
import os

import pytest

from mobilebert_jax.utils.faults import machine_fault


def wrapped(error):
    """The error as the cause of another, which another came out of."""
    try:
        try:
            try:
                raise error
            except Exception as inner:
                raise RuntimeError("the library is sorry") from inner
        except RuntimeError:
            raise KeyError("while tidying up")  # noqa: B904
    except KeyError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x"), os.strerror(errno.ENOSPC)),
        (OSError(errno.EROFS, "x", "/a/b"), f"/a/b: {os.strerror(errno.EROFS)}"),
        (ValueError("I/O error: File too large (os error 27)"), os.strerror(errno.EFBIG)),
        (ValueError("RESOURCE_EXHAUSTED: [OS error 28: ENOSPC No space left on device]"), os.strerror(errno.ENOSPC)),
    ],
)
def test_the_machines_refusal_is_found_under_any_wrapping(error, said):
    assert machine_fault(error) == machine_fault(wrapped(error)) == said


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "x", "/a"), OSError("no number")])
def test_anything_else_is_not_the_machines_fault(error):
    assert machine_fault(error) is None and machine_fault(wrapped(error)) is None
