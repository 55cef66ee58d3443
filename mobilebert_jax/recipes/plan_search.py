"""`mobilebert plan --search`: the largest batch a device that fits, and the preset whose steps are fastest."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from mobilebert_jax.parallel.rules import PRESETS
from mobilebert_jax.parallel.topologies import Topology, parse_topology, topology_devices
from mobilebert_jax.recipes.layouts import make_layout
from mobilebert_jax.recipes.plan import DoesNotFit, Row, networks, phase_row, plannable, planned_phases
from mobilebert_jax.recipes.plan_steps import phase_steps
from mobilebert_jax.utils.errors import UserError

LARGEST = 64
"""Batches are doubled so often that they grow at most by this."""
NEIGHBOURS = 8
"""Devices that share parameters (fsdp), or half of them a layer's work (tensor), where the config says nothing."""


def search_recipe(
    config: ConfigDict,
    topology: str,
    slices: int = 1,
    phases: Sequence[str] = (),
    show: Callable[[str], None] = lambda line: None,
) -> Row:
    """Compiles each phase with each preset, at the config's batch and at doubled ones until one does not fit.

    Returns the topology and, for each phase, a row a preset (`candidates`) and the fastest of them; `seconds` are those
    of the config's batch, None where that does not fit.

    Raises:
        UserError: as `plan_recipe`; a step that does not fit is no error here.
    """
    place = parse_topology(topology, slices)
    config = plannable(config, slices)
    names = planned_phases(config, phases)
    devices = topology_devices(place)
    rows = []
    for name in names:
        found = [_candidate(changed, name, place, devices, show) for changed in candidates(config, place)]
        fitting = [row for row in found if row["seconds"] is not None]
        fastest = min(fitting, key=lambda row: row["seconds"])["preset"] if fitting else None
        rows.append({"phase": name, "candidates": found, "fastest": fastest})
    return {"topology": place.name, "slices": slices, "chips": place.chips, "phases": rows}


def candidates(config: ConfigDict, place: Topology) -> Iterator[ConfigDict]:
    """The config with each preset, and with mesh axes that it uses."""
    inside = place.devices // place.slices
    for name in PRESETS:
        changed = ConfigDict(config.to_dict())
        changed.mesh.update({"preset": name, "teacher_preset": "", "data": -1, "fsdp": 1, "tensor": 1})
        heads = config.model.teacher.num_attention_heads
        tensor = min(heads, max(inside // 2, 1)) if "tensor" in name else 1
        changed.mesh.tensor = tensor
        changed.mesh.fsdp = max(min(NEIGHBOURS, inside // tensor), 1) if "fsdp" in name else 1
        yield changed


def _candidate(config: ConfigDict, name: str, place: Topology, devices: Any, show: Callable[[str], None]) -> Row:
    """One preset's row: the step's time at the config's batch, and the largest batch that fits."""
    layout = make_layout(config, devices)
    own, shards = config[name].batch_size, layout.batch_shards
    row = {"preset": config.mesh.preset, "mesh": dict(layout.mesh.shape), "seconds": None, "batch_per_device": None}

    def planned(batch_size: int) -> Row | None:
        changed = ConfigDict(config.to_dict())
        changed[name].batch_size = batch_size
        try:
            layout.check_batch(name, batch_size, changed[name].accumulation)
            (steps,) = phase_steps(changed, (name,), *networks(changed))
            return phase_row(steps, layout, place, show)
        except DoesNotFit:
            return None

    try:
        first = planned(own)
    except UserError as error:  # a batch that this mesh cannot split
        return row | {"refused": str(error)}
    if first is not None:
        row["seconds"] = first["seconds"]["step"]
    row["batch_per_device"] = _largest(planned, own, shards * config[name].accumulation, first is not None) / shards
    return row


def _largest(planned: Callable[[int], Row | None], own: int, least: int, fits: bool) -> int:
    """The largest batch that fits: doubled from the config's, or halved down to it; 0 when not even the least does."""
    size = own
    if fits:
        while size < LARGEST * own and planned(2 * size) is not None:
            size *= 2
        return size
    while size % (2 * least) == 0:
        size //= 2
        if planned(size) is not None:
            return size
    return 0
