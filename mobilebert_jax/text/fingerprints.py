"""What identifies files too large to be read whole again and again."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mobilebert_jax.utils.errors import UserError

WHOLE_BYTES = 1 << 26
"""Files that are smaller together are read whole."""
EDGE_BYTES = 1 << 16
"""What is read of the two ends of every file when they are larger."""


def files_fingerprint(paths: Sequence[Path], whole_bytes: int = WHOLE_BYTES) -> str:
    """Hex SHA-256 of files in their order: of every byte up to `whole_bytes` in all, of sizes and both ends above.

    Names, places and times do not count, so a copy is the same. What it cannot see is a large corpus changed in the
    middle of a file without a change of size. Raises UserError for a file that cannot be read.
    """
    digest = hashlib.sha256()
    try:
        sizes = [path.stat().st_size for path in paths]
        whole = sum(sizes) <= whole_bytes
        for path, size in zip(paths, sizes, strict=True):
            digest.update(f"{size};".encode())
            with path.open("rb") as file:
                digest.update(file.read() if whole else file.read(EDGE_BYTES))
                if not whole and size > EDGE_BYTES:
                    file.seek(max(EDGE_BYTES, size - EDGE_BYTES))
                    digest.update(file.read(EDGE_BYTES))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
