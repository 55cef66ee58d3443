import pytest

from mobilebert_jax.text.docstring_prose import clean_markup, paragraphs

DOCSTRING = """Return the sum of two numbers, or None.

    The arguments may be *anything* that supports ``+``, see :func:`operator.add
    <operator>` and `the manual <https://example.org/a>`_::

        total = add(1, 2)
        print(total)  # the sum of one and two is in the variable

    Arguments:
      - first: the number to which the other one is added
      - second: the number that is added to the first

    >>> add(1, 2)
    3

    Notes
    -----
    Nothing is rounded.  This is the end.

    +------+-------+
    | name | value |
    +------+-------+

    add(a, b) -> number

    .. versionadded:: 3.2
    """


def test_prose_stays_and_code_goes():
    assert paragraphs(DOCSTRING) == [
        "Return the sum of two numbers, or None.",
        "The arguments may be anything that supports +, see operator.add and the manual:",
        "first: the number to which the other one is added",
        "second: the number that is added to the first",
        "Nothing is rounded. This is the end.",
    ]


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("a :class:`~json.JSONDecoder` and :py:meth:`x.y`", "a json.JSONDecoder and x.y"),
        ("**strong** and *weak*, but *args, 2*3*4 and **kwargs", "strong and weak, but *args, 2*3*4 and **kwargs"),
        ("``code`` `old' and `name`_", "code old and name"),
        (":param size: how many\n  bytes", "size: how many bytes"),
        ("see (https://example.org/x) [1]_ for |this|", "see for this"),
    ],
)
def test_markup_is_replaced_by_its_words(markup, words):
    assert clean_markup(markup) == words


@pytest.mark.parametrize(
    "code",
    [
        "x = [i for i in range(10)]",
        "def f(a, b=2):",
        "a ::= b | c",
        "foo(bar, baz) -> spam",
        "if x is None: return {y: z}",
        "name    type    default",
        "STANDARD OPTIONS",
    ],
)
def test_lines_of_code_are_no_prose(code):
    assert paragraphs(code) == []


def test_lone_surrogates_are_dropped():
    assert paragraphs("This is a\udc80 sentence.") == ["This is a sentence."]
