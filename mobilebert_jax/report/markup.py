"""HTML as nested calls; every string is escaped unless it is `Markup` already."""

import html
import math
from collections.abc import Sequence
from typing import Any

MISSING = "\N{EN DASH}"
"""What stands in a table where the files say nothing."""


class Markup(str):
    """Text that is HTML already and stands in a page as it is."""


def tag(name: str, *children: Any, **attributes: str) -> Markup:
    """One element; strings among `children` and all attributes are escaped. `cls` is the attribute class."""
    written = "".join(
        f' {key.replace("cls", "class")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Any) -> Markup:
    """Children one after the other, each escaped unless it is `Markup`."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(str(child)) for child in children))


def table(header: Sequence[Any], rows: Sequence[Sequence[Any]], marked: Sequence[int] = ()) -> Markup:
    """A table whose first column is text and whose others are figures; rows numbered in `marked` stand out."""
    head = tag("tr", *(tag("th", cell) for cell in header))
    body = [
        tag("tr", *(tag("td", cell) for cell in row), **({"cls": "marked"} if index in marked else {}))
        for index, row in enumerate(rows)
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), cls="scroll")


def bar(share: float, text: str, cls: str = "") -> Markup:
    """A figure with a bar behind it; `share` of the full width, 0 to 1."""
    width = f"width:{100 * min(max(share, 0.0), 1.0):.1f}%"
    return tag("span", tag("i", style=width), tag("b", text), cls=f"bar {cls}".strip())


def note(*children: Any) -> Markup:
    """A remark in small print."""
    return tag("p", *children, cls="note")


def figure(value: Any, digits: int = 3) -> str:
    """A number with so many decimals; `MISSING` for None and what is not finite."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return MISSING
    return f"{value:.{digits}f}"


def percent(share: Any) -> str:
    """0.1763 as '17.6%'."""
    return MISSING if figure(share) == MISSING else f"{100 * share:.1f}%"


def duration(seconds: float | None) -> str:
    """Seconds as '48 s', '4 min 12 s', '3 h 05 min' or '2 d 4 h'."""
    if seconds is None:
        return MISSING
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 60:
        return f"{whole} s"
    if hours < 1:
        return f"{minutes} min {whole % 60:02d} s"
    return f"{hours} h {minutes % 60:02d} min" if days < 1 else f"{days} d {hours % 24} h"


def tile(name: str, value: str, beside: str) -> Markup:
    """A figure at a glance, with what it is and what stands beside it."""
    return tag("div", tag("h3", name), tag("strong", value), tag("p", beside), cls="tile")
