"""What a run's bits depend on besides its config: versions, the devices, the compiler's flags."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from mobilebert_jax.utils.cores import cores

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "tokenizers", "sentencepiece")


def environment() -> dict[str, Any]:
    """Name -> value; two runs of one config give the same parameters, bit for bit, when all of these are the same."""
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
        "git": _git_revision(),
        "devices": f"{len(devices)} {devices[0].device_kind}",
        "processes": jax.process_count(),
        # A product on the CPU is split by cores, and sums of parts depend on the parts.
        "processor": f"{cores()} {platform.machine()}" if devices[0].platform == "cpu" else "",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What differs, in words: 'jax 0.10.2, now 0.10.3; ...'; empty when nothing does."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return "; ".join(f"{name} {_short(before.get(name))}, now {_short(now.get(name))}" for name in names)


def _short(value: Any) -> str:
    return str(value)[:40] if value not in ("", None) else "none"


def _git_revision() -> str:
    """The checkout's commit; empty when the package is not run from a git checkout of its own."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
