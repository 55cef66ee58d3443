import math

import pytest

from mobilebert_jax.report.markup import MISSING, Markup, duration, figure, join, percent, tag


def test_text_and_attributes_are_escaped_and_markup_is_not():
    inner = tag("b", "<i>&", title='"quoted"')
    assert inner == '<b title="&quot;quoted&quot;">&lt;i&gt;&amp;</b>'
    assert join(inner, "<", Markup("<hr>")) == f"{inner}&lt;<hr>"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, MISSING),
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (276, "4 min 36 s"),
        (11_100, "3 h 05 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_in_two_units(seconds, text):
    assert duration(seconds) == text


def test_what_is_no_number_is_missing():
    assert figure(None) == figure(math.nan) == percent(math.inf) == percent(None) == MISSING
    assert (figure(5.30865), percent(0.1763)) == ("5.309", "17.6%")
