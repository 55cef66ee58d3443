import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.text.shards import Cutter, Share
from mobilebert_jax.utils.errors import UserError

TEXTS = st.lists(st.text(min_size=1, max_size=12), max_size=30)


@given(TEXTS, st.integers(1, 40), st.integers(1, 20), st.integers(1, 4))
def test_shards_hold_every_document_once_in_order_whoever_makes_them(texts, limit, batch, machines):
    import mobilebert_jax.text.shards as module

    whole: dict[int, list[str]] = {}
    before, module.BATCH_BYTES = module.BATCH_BYTES, batch
    try:
        for index in range(machines):
            cutter = Cutter(texts, limit, Share(index, machines).has)
            ended = set()
            for piece, documents in cutter:
                assert piece.shard % machines == index and piece.shard not in ended
                assert piece.bytes == sum(len(text.encode("utf-8", "replace")) for text in documents)
                whole.setdefault(piece.shard, []).extend(documents)
                ended |= {piece.shard} if piece.last else set()
            assert ended == {shard for shard in range(cutter.shards) if shard % machines == index}
            assert cutter.seen == sum(len(text.encode("utf-8", "replace")) for text in texts)
    finally:
        module.BATCH_BYTES = before
    assert [text for shard in sorted(whole) for text in whole[shard]] == texts
    sizes = [[len(text.encode("utf-8", "replace")) for text in whole[shard]] for shard in sorted(whole)]
    for place, shard in enumerate(sizes):
        assert sum(shard[:-1]) < limit, "a shard ends as soon as it is full"
        assert sum(shard) >= limit or place == len(sizes) - 1


def test_shares_are_written_as_index_and_number():
    assert Share.parse("2/8") == (2, 8)


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "1/0", "a/b", "1/2/3"])
def test_other_shares_are_refused(text):
    with pytest.raises(UserError, match=r"--shard=.*: i/n is needed"):
        Share.parse(text)
