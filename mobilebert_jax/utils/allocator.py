"""Whether freed memory goes back to the operating system: not where the next step would ask for it again."""

import ctypes
from pathlib import Path

ACCELERATORS = ("accel[0-9]*", "vfio/[0-9]*", "nvidia[0-9]*", "kfd")
"""In /dev: of TPUs, older and newer, and of GPUs of NVIDIA and AMD."""

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Numbers of glibc's mallopt parameters (malloc.h)."""


def keep_freed_memory() -> bool:
    """Freed memory stays with this process; False where the C library is not glibc and nothing has changed.

    XLA's CPU client takes a program's temporaries anew at every call. glibc maps blocks of that size when they are
    asked for and unmaps them when they are freed, so the kernel clears and maps every page of them again in every
    step: of a step of MobileBERT with 8 rows of 384 tokens, 3.4 GB, a third of its processor time. One arena for all
    threads, because those of other threads than the first always map large blocks; to be called before there are any.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have none; Windows has no None
        return False
    return all([mallopt(_ARENA_MAX, 1), mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1)])


def accelerator_files(devices: str = "/dev") -> bool:
    """Whether this machine has anything but its processors to run programs on, as far as its device files tell."""
    return any(any(Path(devices).glob(pattern)) for pattern in ACCELERATORS)
