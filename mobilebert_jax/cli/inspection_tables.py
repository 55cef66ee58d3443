"""`mobilebert inspect` for people: trees with counts, facts, differences."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mobilebert_jax.inspection.contents import Contents
from mobilebert_jax.inspection.ranges import Range
from mobilebert_jax.models.tensor_files import TensorHeader

SHOWN = 20
"""How many lines of one kind of difference are printed; --json has them all."""

WIDTH = 48


def print_contents(contents: Contents) -> None:
    """Kind, facts, then the tree of arrays."""
    print(f"{contents.kind} {contents.path}")
    _print_facts({name: value for name, value in contents.facts.items() if name != "config"}, "  ")
    if contents.leaves:
        print(f"{'tree':<{WIDTH}} {_total(contents.leaves):>14,}")
        _print_tree(contents.leaves, contents.separator, "  ")
    if "config" in contents.facts:
        print("config")
        _print_facts(contents.facts["config"], "  ")


def print_statistics(statistics: Mapping[str, Any]) -> None:
    """A store's histograms side by side, unknown tokens, padding, examples."""
    sentences, documents = statistics["tokens_a_sentence"], statistics["tokens_a_document"]
    print(f"{'tokens':<12} {'sentences':>14} {'documents':>14}")
    for name in sentences:
        print(f"  {name:<10} {sentences[name]:>14,} {documents[name]:>14,}")
    if "unknown_share" in statistics:
        print(f"unknown      {statistics['unknown_share']:.4%} of the tokens")
    for tried in statistics.get("examples", ()):
        print(
            f"examples of {tried['sequence_length']} tokens: padding {tried['padding_share']:.1%}, "
            f"masked {tried['masked_share']:.1%} of the rest; {{word>what the model sees}}:"
        )
        for sample in tried["samples"]:
            print(textwrap.fill(sample, 112, initial_indent="  ", subsequent_indent="  "))


def print_differences(report: Mapping[str, Any]) -> None:
    """What `compare` found, or that it found nothing."""
    first, second = report["paths"]
    print(f"{report['kind']}\n  1: {first}\n  2: {second}")
    _print_lines("arrays only in 1", report["only_in_first"])
    _print_lines("arrays only in 2", report["only_in_second"])
    for what in ("shapes", "dtypes"):
        _print_lines(what, [f"{name}  {one} -> {two}" for name, (one, two) in report[what].items()])
    _print_values(report)
    _print_lines("facts", [f"{name}  {one} -> {two}" for name, (one, two) in report["facts"].items()])
    if not any(report[part] for part in ("only_in_first", "only_in_second", "shapes", "dtypes", "values", "facts")):
        print("no difference")


def print_ranges(ranges: Sequence[Range]) -> None:
    """One line a layer with its widest tensor, then every tensor that 16 or 8 bits do not hold."""
    print(f"{'layer':>5} {'smallest':>11} {'largest':>11}  {'widest tensor':<28} {'zero in int8':>12}")
    for layer in sorted({found.layer for found in ranges}):
        own = [found for found in ranges if found.layer == layer]
        widest = max(own, key=lambda found: max(-found.low, found.high))
        label = "" if layer < 0 else layer
        print(f"{label:>5} {widest.low:>11.4g} {widest.high:>11.4g}  {widest.name:<28} {widest.lost:>12.1%}")
    for what, chosen in (
        ("would overflow fp16 (65504)", [found for found in ranges if found.overflows_fp16]),
        ("would saturate int8, or lose more than half of its values", [f for f in ranges if f.saturates_int8]),
    ):
        lines = [f"{'' if f.layer < 0 else f.layer:>3} {f.name:<28} {f.low:.4g} .. {f.high:.4g}" for f in chosen]
        _print_lines(what, lines) if lines else print(f"{what}: none")


def _print_values(report: Mapping[str, Any]) -> None:
    values = report["values"]
    for measure, name in report["largest"].items():
        if name is not None:
            print(f"largest {measure} difference {_number(values[name][measure])} in {name}")
    _print_lines(
        "values (entries that differ, largest absolute and relative difference)",
        [
            f"{name}  {found['differing']:,}  {_number(found['absolute'])}  {_number(found['relative'])}"
            for name, found in values.items()
        ],
    )


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _print_lines(title: str, lines: list[str]) -> None:
    if lines:
        print(f"{title}: {len(lines)}")
        print(textwrap.indent("\n".join(lines[:SHOWN]), "  "))
        if len(lines) > SHOWN:
            print(f"  and {len(lines) - SHOWN} more (--json shows all)")


def _print_facts(facts: Mapping[str, Any], indent: str) -> None:
    for name, value in facts.items():
        if isinstance(value, dict):
            if value:
                print(f"{indent}{name}")
                _print_facts(value, indent + "  ")
        else:
            shown = f"{value:,}" if type(value) is int and value >= 10_000 else value
            print(f"{indent}{name:<{max(1, 24 - len(indent))}} {shown}")


def _print_tree(leaves: Mapping[str, TensorHeader], separator: str, indent: str) -> None:
    """Every node with the number of scalars below it; leaves with shape and dtype too."""
    nodes: dict[str, dict[str, TensorHeader]] = {}
    for name, leaf in leaves.items():
        node, _, rest = name.partition(separator)
        nodes.setdefault(node, {})[rest] = leaf
    for node, below in nodes.items():
        label = indent + node
        if list(below) == [""]:
            leaf = below[""]
            print(f"{label:<{WIDTH}} {leaf.count:>14,}  {list(leaf.shape)} {leaf.dtype}")
        else:
            print(f"{label:<{WIDTH}} {_total(below):>14,}")
            _print_tree(below, separator, indent + "  ")


def _total(leaves: Mapping[str, TensorHeader]) -> int:
    return sum(leaf.count for leaf in leaves.values())
