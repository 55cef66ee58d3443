import logging

from mobilebert_jax.tasks.squad_data import Question
from mobilebert_jax.tasks.squad_windows import window_groups
from mobilebert_jax.text import window_groups as text_groups
from mobilebert_jax.text.tokenizer import train_tokenizer


def test_questions_that_are_cut_are_counted_once_over_all_groups(caplog, monkeypatch):
    monkeypatch.setattr(text_groups, "_GROUP_CHARACTERS", 600)
    tokenizer = train_tokenizer(["who ran the cat sat"] * 4, 60)
    questions = [Question(str(n), "", "who " * n, "the cat sat", (), True) for n in (2, 5, 3, 4)]
    shape = {"sequence_length": 24, "doc_stride": 8}
    with caplog.at_level(logging.WARNING):
        groups = list(window_groups(tokenizer, questions, max_query_length=3, **shape))
    assert len(groups) > 1 and [message for *_, message in caplog.record_tuples] == [
        "2 questions cut after 3 tokens (5, 4)"
    ]
    caplog.clear()
    list(window_groups(tokenizer, questions, max_query_length=5, **shape))
    assert not caplog.records
