import json

import pytest

from mobilebert_jax.tasks.examples import label_set, make_examples
from mobilebert_jax.tasks.own_data import Columns, read_rows, split_rows
from mobilebert_jax.utils.errors import UserError

ROWS = [{"a": f"text {number}", "b": f"other {number}", "y": "xyz"[number % 3]} for number in range(30)]


@pytest.fixture
def jsonl(tmp_path):
    def write(rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def test_columns_have_the_names_that_are_given(jsonl, tmp_path):
    tsv = tmp_path / "rows.tsv"
    tsv.write_text("a\tb\ty\n" + "".join("\t".join(row.values()) + "\n" for row in ROWS))
    for spec in (jsonl(ROWS), str(tsv)):
        rows = read_rows(spec, Columns("a", "b", "y"))
        names = label_set(rows, spec)
        examples = make_examples(rows, names, spec)
        assert names == ("x", "y", "z") and examples.labels[:4].tolist() == [0, 1, 2, 0]
        assert examples.texts[3] == "text 3" and examples.text_pairs[3] == "other 3"
        assert make_examples(read_rows(spec, Columns("b", "", "y")), names, spec).text_pairs is None


def test_numbers_are_sorted_by_value_and_read_as_classes_or_values(jsonl):
    spec = jsonl([{"text": "a", "label": value} for value in (10, 9, -1, 10)])
    rows = read_rows(spec, Columns())
    assert label_set(rows, spec) == ("-1", "9", "10")
    assert make_examples(rows, (), spec).labels.tolist() == [10.0, 9.0, -1.0, 10.0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a"}], r"rows\.jsonl:1: no column 'label'; there are text; --label names it"),
        ([{"text": "a", "label": 1}, {"label": 1}], r"rows\.jsonl:2: no column 'text'; there are label; --text names"),
        ([{"text": 3, "label": 1}], r"rows\.jsonl:1: 3 is int; a text is needed"),
        ([{"text": "a", "label": [1]}], r"rows\.jsonl:1: the label is list"),
        ([], r"rows\.jsonl: no examples in it"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_by_line(jsonl, rows, message):
    with pytest.raises(UserError, match=message):
        read_rows(jsonl(rows), Columns())


def test_a_label_set_needs_two_and_every_row_one(jsonl):
    with pytest.raises(UserError, match="every label is 'x'; two are needed"):
        label_set(read_rows(jsonl([{"text": "a", "label": "x"}]), Columns()), "rows")
    with pytest.raises(UserError, match=r"rows\.jsonl:2: the label is empty"):
        label_set(read_rows(jsonl([{"text": "a", "label": "x"}, {"text": "a", "label": ""}]), Columns()), "rows")


def test_a_tenth_is_held_out_by_text_whatever_the_order(jsonl):
    rows = read_rows(jsonl([*ROWS, *ROWS]), Columns("a", "b", "y"))
    train, heldout = split_rows(rows)
    assert len(train) == 54 and len(heldout) == 6
    assert not {row.text for row in train} & {row.text for row in heldout}
    again = split_rows(rows[::-1])
    assert {row.text for row in again[1]} == {row.text for row in heldout}
    with pytest.raises(UserError, match="1 texts are too few to hold some out"):
        split_rows(rows[:1])
