import pytest

from mobilebert_jax.text.corpus import Address, clean_document, one_line, parse_address
from mobilebert_jax.utils.errors import UserError


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("wiki", Address("wiki", "train", "text", False)),
        ("user/wiki,20231101.de#body", Address("user/wiki,20231101.de", "train", "body", False)),
        ("wiki/de:1.0.0@validation", Address("wiki/de:1.0.0", "validation", "text", True)),
        ("wiki@train[:10%]#body", Address("wiki", "train[:10%]", "body", True)),
        ("/a@b/c.parquet", Address("/a@b/c.parquet", "train", "text", False)),
        ("./c#1/d", Address("./c#1/d", "train", "text", False)),
    ],
)
def test_addresses_are_a_place_a_split_and_a_field(rest, expected):
    assert parse_address(rest, "spec") == expected


@pytest.mark.parametrize("rest", ["", "#text", "@train", "wiki#"])
def test_addresses_without_a_place_or_with_an_empty_field_are_refused(rest):
    with pytest.raises(UserError, match="corpus 'spec': NAME@SPLIT#FIELD"):
        parse_address(rest, "spec")


def test_documents_are_stripped_lines_without_halves_of_characters():
    assert clean_document(" One.\r\n\n\t\nTwo \ud800. ") == "One.\nTwo ?."
    assert clean_document(" \n ") == ""


def test_errors_of_libraries_become_one_line():
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 999))) == 300
