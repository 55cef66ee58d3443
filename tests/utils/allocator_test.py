"""Freed memory stays with the process where the C library is glibc; elsewhere nothing happens."""

import ctypes
import platform
import subprocess
import sys

import pytest

from mobilebert_jax.utils import allocator
from mobilebert_jax.utils.allocator import accelerator_files, keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from mobilebert_jax.utils.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
faults = []
for _ in range(4):
    np.ones(2**25, np.float32)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[1])
"""


def new_pages(way):
    return int(subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_large_block_that_was_freed_is_used_again_as_it_is():
    assert new_pages("given back") > 10 * (new_pages("kept") + 1)


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: ctypes.Structure())
    assert not keep_freed_memory()


def test_accelerators_are_known_by_their_device_files(tmp_path):
    (tmp_path / "null").touch()
    assert not accelerator_files(str(tmp_path))
    (tmp_path / "vfio").mkdir()
    assert not accelerator_files(str(tmp_path))
    (tmp_path / "vfio" / "0").touch()
    assert accelerator_files(str(tmp_path))
