import numpy as np

from mobilebert_jax.text import window_groups
from mobilebert_jax.text.tokenizer import train_tokenizer
from mobilebert_jax.text.window_groups import grouped_windows


def test_groups_are_all_questions_in_order_and_bounded(monkeypatch):
    tokenizer = train_tokenizer(["who ran the cat sat"] * 4, 60)
    questions, passages = ["who?"] * 9, ["the cat sat " * n for n in (1, 80, 2, 2, 2, 90, 1, 1, 1)]
    shape = {"sequence_length": 24, "doc_stride": 8}
    ((rows, whole),) = grouped_windows(tokenizer, questions, passages, **shape)
    assert rows == slice(0, 9)
    monkeypatch.setattr(window_groups, "_GROUP_CHARACTERS", 1200)
    groups = list(grouped_windows(tokenizer, questions, passages, **shape))
    assert len(groups) > 3 and [row for rows, _ in groups for row in range(9)[rows]] == list(range(9))
    np.testing.assert_array_equal(np.concatenate([windows.input_ids for _, windows in groups]), whole.input_ids)
    assert list(grouped_windows(tokenizer, [], [], **shape)) == []
