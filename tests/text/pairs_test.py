import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.text.pairs import Pairs, truncated
from mobilebert_jax.utils.errors import UserError

TEXTS = ["the cat sat", "", "dogs were running through green fields and birds sang loudly", "mend nets under trees"]
OTHERS = ["on a mat", "sailors mend nets", "tall trees near rivers that flow slowly towards distant seas", ""]


def cut_one_by_one(a, b, room):
    """BERT's loop, as its description has it: the longer loses its last piece, of equals the second."""
    while a + b > room:
        if a > b:
            a -= 1
        else:
            b -= 1
    return a, b


@given(st.integers(0, 60), st.integers(0, 60), st.integers(2, 70))
def test_pairs_are_cut_as_piece_by_piece(a, b, room):
    kept = truncated(np.array([a]), np.array([b]), room)
    assert tuple(int(length[0]) for length in kept) == cut_one_by_one(a, b, room)


def laid_out(tokenizer, text, other, room, length):
    """The three rows of one example, made with lists."""
    a = tokenizer.ids_batch([text])[0]
    if other is None:
        ids = [tokenizer.cls_id, *a[: room - 2], tokenizer.sep_id]
        types = [0] * len(ids)
    else:
        b = tokenizer.ids_batch([other])[0]
        kept_a, kept_b = cut_one_by_one(len(a), len(b), room - 3)
        first = [tokenizer.cls_id, *a[:kept_a], tokenizer.sep_id]
        second = [*b[:kept_b], tokenizer.sep_id]
        ids, types = first + second, [0] * len(first) + [1] * len(second)
    left = length - len(ids)
    return ids + [tokenizer.pad_id] * left, [1] * len(ids) + [0] * left, types + [0] * left


@pytest.mark.parametrize("others", [None, OTHERS])
@pytest.mark.parametrize("room", [7, 16, 32])
def test_examples_are_laid_out_as_bert_has_them(each_kind, others, room):
    pairs = Pairs.build(each_kind, TEXTS, others, room)
    rows = np.array([2, 0, 3, 1, 2])
    batch = pairs.batch(rows, 32)
    for place, row in enumerate(rows.tolist()):
        expected = laid_out(each_kind, TEXTS[row], others and others[row], room, 32)
        found = (batch[name][place].tolist() for name in ("input_ids", "attention_mask", "token_type_ids"))
        assert tuple(found) == expected
        assert pairs.lengths[row] == sum(expected[1])
    assert all(value.dtype == np.int32 and value.shape == (5, 32) for value in batch.values())


def test_a_length_without_room_is_refused(tokenizer):
    with pytest.raises(UserError, match="sequence_length is 4: 5 is the least"):
        Pairs.build(tokenizer, ["a"], ["b"], 4)
    with pytest.raises(UserError, match="sequence_length is 2: 3 is the least"):
        Pairs.build(tokenizer, ["a"], None, 2)


def test_no_examples_are_none(tokenizer):
    assert len(Pairs.build(tokenizer, [], [], 32)) == 0
