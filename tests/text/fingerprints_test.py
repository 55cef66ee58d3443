import pytest

from mobilebert_jax.text.fingerprints import EDGE_BYTES, files_fingerprint
from mobilebert_jax.utils.errors import UserError


def of(folder, *contents, whole_bytes=1 << 26):
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{len(contents)}-{number}")
        paths[-1].write_bytes(content)
    return files_fingerprint(paths, whole_bytes)


def test_small_files_count_with_every_byte(tmp_path):
    content = bytes(3 * EDGE_BYTES)
    changed = content[: EDGE_BYTES + 9] + b"x" + content[EDGE_BYTES + 10 :]
    assert of(tmp_path, content) == of(tmp_path, content) != of(tmp_path, changed)


@pytest.mark.parametrize("place", [0, EDGE_BYTES - 1, -1, -EDGE_BYTES])
def test_of_large_files_both_ends_count(tmp_path, place):
    content = bytearray(3 * EDGE_BYTES)
    before = of(tmp_path, bytes(content), whole_bytes=9)
    content[place] = 1
    assert of(tmp_path, bytes(content), whole_bytes=9) != before


@pytest.mark.parametrize("size", [0, 1, EDGE_BYTES, EDGE_BYTES + 1, 2 * EDGE_BYTES - 1])
def test_files_shorter_than_two_ends_count_whole_and_once(tmp_path, size):
    assert of(tmp_path, b"a" * size, whole_bytes=0) == of(tmp_path, b"a" * size, whole_bytes=1 << 26)


def test_sizes_number_and_order_count(tmp_path):
    large = bytes(3 * EDGE_BYTES)
    assert of(tmp_path, large, whole_bytes=9) != of(tmp_path, large + b"\0", whole_bytes=9)
    prints = {of(tmp_path, *contents) for contents in ([b"ab"], [b"a", b"b"], [b"b", b"a"], [b"", b"ab"])}
    assert len(prints) == 4


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(UserError, match="gone: cannot be read"):
        files_fingerprint([tmp_path / "gone"])
