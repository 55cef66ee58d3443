"""TPU slices by name, such as v5e:16x16, and their devices without having them: libtpu compiles for them anyway."""

import dataclasses
import importlib.util
import math
import os
import re
from typing import Any

from mobilebert_jax.parallel.chips import CHIPS, CHIPS_PER_HOST, Chip
from mobilebert_jax.utils.errors import UserError, first_line

QUIET = {
    # Not asking the metadata server of a machine that is no TPU VM, nor remarking that it is none.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}
LIBRARY_NAMES = {"7x": "tpu7x"}
OPTIONS = {"v4": {"chip_config_name": "megacore"}}
"""What makes a v4 chip one device, as it is on a TPU VM."""


@dataclasses.dataclass(frozen=True)
class Topology:
    """So many slices of one shape."""

    chip: Chip
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    @property
    def chips(self) -> int:
        """In all slices."""
        return math.prod(self.shape) * self.slices

    @property
    def devices(self) -> int:
        """In all slices."""
        return self.chips * self.chip.devices

    @property
    def hosts(self) -> int:
        """In all slices."""
        return self.slices * -(-math.prod(self.shape) // CHIPS_PER_HOST)


def parse_topology(text: str, slices: int = 1) -> Topology:
    """`v5e:16x16` -> Topology; UserError for a kind that is not known, or a shape that it does not have."""
    kind, _, shape = text.partition(":")
    if kind not in CHIPS:
        raise UserError(f"--topology={text}: no kind {kind!r}; there are {', '.join(CHIPS)}, such as v5e:16x16")
    chip = CHIPS[kind]
    example = {2: "4x4", 3: "2x2x2"}[chip.dimensions]
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape) or shape.count("x") != chip.dimensions - 1:
        raise UserError(f"--topology={text}: {kind} has shapes of {chip.dimensions} sizes, such as {kind}:{example}")
    if slices < 1:
        raise UserError(f"--slices={slices}: must be at least 1")
    topology = Topology(chip, tuple(map(int, shape.split("x"))), slices)
    if topology.chips > chip.pod * slices:
        raise UserError(f"--topology={text}: a slice of {kind} has at most {chip.pod} chips; take several, --slices=2")
    return topology


def topology_devices(topology: Topology) -> list[Any]:
    """Its devices, for meshes and ahead-of-time compilation.

    Raises:
        UserError: libtpu is not installed or in use by another process, or knows no such slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("compiling for TPUs needs libtpu: pip install 'mobilebert-jax[plan]'")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    kind = topology.chip.name
    name = topology.name.replace(kind, LIBRARY_NAMES.get(kind, kind), 1)
    options = dict(OPTIONS.get(kind, {}))
    if topology.slices > 1:
        options["num_slices"] = topology.slices
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices
    except Exception as error:  # JAX's own kinds of error are not public
        raise UserError(_why(topology, str(error))) from error
    if len(found) != topology.devices:
        raise UserError(f"--topology={topology.name}: libtpu makes {len(found)} devices of it, not {topology.devices}")
    return list(found)


def _why(topology: Topology, text: str) -> str:
    if "lockfile" in text:
        return "libtpu is in use by another process, and serves one at a time: try again when that has ended"
    return f"--topology={topology.name}: libtpu knows no such slice: {first_line(Exception(text)).split(': ', 1)[1]}"
