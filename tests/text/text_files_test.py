import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.text import text_files
from mobilebert_jax.text.text_files import read_lines
from mobilebert_jax.utils.errors import UserError


def position(path):
    with pytest.raises(UserError) as error:
        list(read_lines(path))
    return str(error.value).split(" (")[1].split(":")[0]


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 1 << 20])
@given(lines=st.lists(st.text("aé漢\U0001f600", max_size=4), max_size=6), bad=st.sampled_from([b"\xff", b"\xc3("]))
def test_the_first_byte_that_is_not_utf_8_is_found_across_chunks(tmp_path_factory, chunk, lines, bad):
    before = "\n".join(lines).encode()
    path = tmp_path_factory.getbasetemp() / f"bad-{chunk}.txt"
    path.write_bytes(before + bad + b"\nmore")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "CHUNK_BYTES", chunk)
        assert position(path) == f"line {1 + before.count(10)}, byte {len(before)}"


def test_of_a_compressed_file_the_place_in_the_text_is_told(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"One.\n" * 1000 + b"caf\xe9"))
    assert position(path) == "line 1001, byte 5003"
