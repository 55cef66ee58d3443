"""`mobilebert plan`: its options, and its figures as tables."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
GIB = 1 << 30


def add_plan_options(command: argparse.ArgumentParser) -> None:
    """The options of `plan`."""
    command.add_argument(
        "--config", default="configs/mobilebert.py", metavar="FILE[:ARG,...]", help="default: %(default)s"
    )
    command.add_argument("--topology", required=True, metavar="KIND:SHAPE", help="one slice, such as v5e:16x16")
    command.add_argument("--slices", type=int, default=1, help="so many of them (default: %(default)s)")
    command.add_argument("--phases", default="", help="teacher,transfer,distill,finetune (default: the config's)")
    text = "each preset, and the largest batch that fits; many compilations"
    command.add_argument("--search", action="store_true", help=text)
    command.add_argument("--json", action="store_true", help="exactly one JSON object on stdout")
    command.epilog = "--config.a.b=value changes one setting of the config, as often as needed"


def plan(options: argparse.Namespace) -> None:
    """What the recipe needs and takes on TPUs; nothing runs on a device of this machine."""
    import jax

    # Compiling for other devices must not take those that are here.
    jax.config.update("jax_platforms", "cpu")
    from mobilebert_jax.cli.flags import load_config
    from mobilebert_jax.cli.tables import print_json
    from mobilebert_jax.recipes.plan import plan_recipe
    from mobilebert_jax.recipes.plan_search import search_recipe

    config = load_config(options.config, options.overrides)
    phases = tuple(filter(None, options.phases.split(",")))
    work, show = (search_recipe, print_search) if options.search else (plan_recipe, print_plan)
    found = work(config, options.topology, options.slices, phases, lambda line: print(line, file=sys.stderr))
    print_json(found) if options.json else show(found)


def print_plan(found: Row) -> None:
    """The place, then memory, work, time and the whole recipe, a line a phase."""
    print(describe(found))
    print_table("memory of a device, GiB", MEMORY, [(name_of(row), _memory(row)) for row in found["phases"]])
    print_table("a step, of a device", WORK, [(name_of(row), _work(row)) for row in found["phases"]])
    print_table("its time at least, ms", TIME, [(name_of(row), _time(row)) for row in found["phases"]])
    for row in found["phases"]:
        if "stages" in row:
            stages = [(stage["stage"], [*_work(stage)[:2], *_time(stage)]) for stage in row["stages"]]
            print_table(f"stages of {row['phase']}", [*WORK[:2], *TIME], stages)
    rows = [(name_of(row), _recipe(row, found["chips"])) for row in found["phases"]]
    steps = sum(row["steps"] for row in found["phases"])
    rows.append(("together", [f"{steps:,}", "", f"{found['days']:.2f}", f"{found['chip_hours']:,.0f}"]))
    print_table("the recipe, at least", RECIPE, rows)
    if ways := found.get("transfer_ways"):
        title = f"transfer, {ways['steps_a_block']:,} steps a block"
        print_table(title, TRANSFER, [(row["way"], _way(row)) for row in ways["rows"]])


def print_search(found: Row) -> None:
    """A table a phase, a line a preset."""
    for phase in found["phases"]:
        rows = [(row["preset"], _candidate(row)) for row in phase["candidates"]]
        print_table(f"{phase['phase']} on {found['chips']} chips", SEARCH, rows)
        print(f"fastest: {phase['fastest'] or 'none fits'}")


def _candidate(row: Row) -> list[str]:
    mesh = " x ".join(f"{axis} {size}" for axis, size in row["mesh"].items() if size > 1)
    time = "does not fit" if row["seconds"] is None else f"{1000 * row['seconds']:.3g}"
    if "refused" in row:
        return [mesh, "cannot be split", ""]
    return [mesh, time, f"{row['batch_per_device']:g}"]


SEARCH = ["mesh", "step at least, ms", "largest batch a device"]
MEMORY = ["arguments", "results", "temporaries", "code", "held", "needed", "available"]
WORK = ["TFLOP", "products", "GB moved", "collectives, MB"]
TIME = ["compute", "memory", "ici", "dcn", "step", "bound by"]
TRANSFER = ["steps", "step at least, ms", "GiB a device", "chip-hours"]
RECIPE = ["steps", "examples/s a host", "days", "chip-hours"]


def describe(found: Row) -> str:
    """Place, mesh and chip in two lines."""
    chip, mesh = found["chip"], ", ".join(f"{axis} {size}" for axis, size in found["mesh"].items() if size > 1)
    slices = f"{found['slices']} slices of " if found["slices"] > 1 else ""
    return (
        f"{slices}{found['topology']}: {found['chips']} chips, {found['hosts']} hosts; mesh: {mesh}; "
        f"preset {found['preset']}, teacher {found['teacher_preset']}\n"
        f"a device: {chip['flops'] / 1e12:.4g} TFLOP/s, {chip['memory'] / GIB:.4g} GiB at "
        f"{chip['memory_rate'] / 1e9:.4g} GB/s, ici {chip['ici'] / 1e9:.4g} GB/s, dcn {chip['dcn'] / 1e9:.4g} GB/s"
    )


def name_of(row: Row) -> str:
    """A phase and the shape of its batch."""
    return f"{row['phase']} {row['batch_size']}x{row['sequence_length']}"


def _memory(row: Row) -> list[str]:
    return [f"{row['memory'][name] / GIB:.2f}" for name in MEMORY]


def _work(row: Row) -> list[str]:
    parts = [
        f"{kind} over {axes} {amount / 1e6:.4g}"
        for axes, kinds in row["collective_bytes"].items()
        for kind, amount in kinds.items()
    ]
    tera = [f"{row[name] / 1e12:.4g}" for name in ("flops", "matrix_flops")]
    return [*tera, f"{row['bytes'] / 1e9:.4g}", "; ".join(parts) or "none"]


def _time(row: Row) -> list[str]:
    seconds = row["seconds"]
    return [*(f"{1000 * seconds[name]:.3g}" for name in TIME[:5]), row["bound"]]


def _recipe(row: Row, chips: int) -> list[str]:
    hours = row["days"] * 24 * chips
    return [f"{row['steps']:,}", f"{row['examples_per_second_per_host']:,.0f}", f"{row['days']:.2f}", f"{hours:,.0f}"]


def _way(row: Row) -> list[str]:
    if "chip_hours" not in row:
        return [f"{row['steps']:,}", "does not fit", "", ""]
    figures = f"{1000 * row['seconds']:.3g}", f"{row['memory'] / GIB:.2f}", f"{row['chip_hours']:,.0f}"
    return [f"{row['steps']:,}", *figures]


def print_table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Rows under their columns, each as wide as its widest."""
    lines = [(title, list(columns)), *rows]
    first = max(len(name) for name, _ in lines)
    widths = [max(len(cells[index]) for _, cells in lines) for index in range(len(columns))]
    print()
    for name, cells in lines:
        print("  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))]))
