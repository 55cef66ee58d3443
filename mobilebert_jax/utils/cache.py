"""Where on this machine lies what can be had again."""

import os
from pathlib import Path

CACHE = "MOBILEBERT_CACHE"
"""Variable that names the folder for what belongs to buckets, and for other people's files; default: mobilebert in
the user's cache folder."""


def cache_folder() -> Path:
    """The folder, which need not be there yet."""
    given = os.environ.get(CACHE)
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mobilebert")
