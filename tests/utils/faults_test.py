import errno
import os

import pytest

from mobilebert_jax.utils.faults import machine_fault, naming


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
        (ValueError("OUT_OF_RANGE: Failed to write [os_error_code='27']"), os.strerror(errno.EFBIG)),
        (ValueError("RESOURCE_EXHAUSTED: [OS error 28: ENOSPC No space left on device]"), os.strerror(errno.ENOSPC)),
    ],
)
def test_the_machines_refusal_is_found_under_any_wrapping(error, said):
    assert machine_fault(error) == machine_fault(wrapped(error)) == said


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "x", "/a"), OSError("no number")])
def test_anything_else_is_not_the_machines_fault(error):
    assert machine_fault(error) is None and machine_fault(wrapped(error)) is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), ValueError("File too large (os error 27)")])
def test_what_the_machine_refuses_names_the_file_that_was_being_written(error):
    with pytest.raises(OSError) as caught, naming("/a/b"):
        raise wrapped(error)
    assert caught.value.filename == "/a/b"
    assert machine_fault(caught.value).startswith("/a/b: ")


@pytest.mark.parametrize("error", [ValueError("x"), OSError(errno.ENOSPC, "x", "/inner")])
def test_what_has_a_name_or_is_another_error_passes_as_it_is(error):
    with pytest.raises(type(error)) as caught, naming("/a/b"):
        raise error
    assert caught.value is error
