"""How much memory a run holds."""

import jax
import psutil


def memory_in_use() -> dict[str, int]:
    """Bytes: `host` that this process holds now, and `device`, the peak of the fullest one, where it keeps count."""
    used = {"host": psutil.Process().memory_info().rss}
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
    known = [peak for peak in peaks if peak is not None]
    return used | ({"device": max(known)} if known else {})
