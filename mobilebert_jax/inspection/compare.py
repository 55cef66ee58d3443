"""Two things of one kind: what differs."""

from typing import Any

import numpy as np

from mobilebert_jax.inspection.contents import Contents
from mobilebert_jax.recipes.workdir import flat
from mobilebert_jax.utils.errors import UserError


def compare(first: Contents, second: Contents) -> dict[str, Any]:
    """What differs, as plain JSON values; empty parts where nothing does.

    only_in_first, only_in_second: names of arrays. shapes, dtypes: name -> [first, second]. values: name ->
    {differing, absolute, relative} of arrays of one shape: how many entries differ, the largest absolute difference
    and the largest one relative to the larger of the two; None where one of them is not finite. largest: the names of
    the arrays with the largest two, or None. facts: dotted name -> [first, second].

    Raises:
        UserError: the two are of different kinds.
    """
    if first.kind != second.kind:
        raise UserError(
            f"{first.path} is a {first.kind}, {second.path} a {second.kind}: two of one kind can be compared"
        )
    both = [name for name in first.leaves if name in second.leaves]
    pairs = {name: (first.leaves[name], second.leaves[name]) for name in both}
    values = _values(first, second, [name for name, (one, two) in pairs.items() if one.shape == two.shape])
    return {
        "only_in_first": [name for name in first.leaves if name not in second.leaves],
        "only_in_second": [name for name in second.leaves if name not in first.leaves],
        "shapes": {n: [list(one.shape), list(two.shape)] for n, (one, two) in pairs.items() if one.shape != two.shape},
        "dtypes": {n: [one.dtype, two.dtype] for n, (one, two) in pairs.items() if one.dtype != two.dtype},
        "values": values,
        "largest": {measure: _largest(values, measure) for measure in ("absolute", "relative")},
        "facts": _fact_differences(first.facts, second.facts),
    }


def _values(first: Contents, second: Contents, names: list[str]) -> dict[str, dict[str, Any]]:
    if not names:
        return {}
    one, two = first.load(), second.load()
    differences = {name: array_difference(one[name], two[name]) for name in names}
    return {name: found for name, found in differences.items() if found["differing"]}


def array_difference(one: np.ndarray, two: np.ndarray) -> dict[str, Any]:
    """{differing, absolute, relative} of two arrays of one shape; two NaN are equal."""
    # One array at a time in float64, in which float32 and every token id are exact.
    one, two = np.asarray(one).astype(np.float64), np.asarray(two).astype(np.float64)
    differs = (one != two) & ~(np.isnan(one) & np.isnan(two))
    one, two = one[differs], two[differs]
    if not one.size:
        return {"differing": 0, "absolute": 0.0, "relative": 0.0}
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        return {"differing": int(one.size), "absolute": None, "relative": None}
    gap = np.abs(one - two)
    relative = gap / np.maximum(np.abs(one), np.abs(two))
    return {"differing": int(one.size), "absolute": float(gap.max()), "relative": float(relative.max())}


def _largest(values: dict[str, dict[str, Any]], measure: str) -> str | None:
    """What is not finite comes first; an optimizer's slots, which hold step counts, only where no parameter differs."""
    names = [name for name in values if not name.startswith("opt_state/")] or list(values)
    order = {name: np.inf if values[name][measure] is None else values[name][measure] for name in names}
    return max(order, key=order.get) if order else None


def _fact_differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list[Any]]:
    one, two = flat(first), flat(second)
    return {name: [one.get(name), two.get(name)] for name in {**one, **two} if one.get(name) != two.get(name)}
