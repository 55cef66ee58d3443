"""What TPU chips can do at most, by kind, as their maker publishes it."""

import dataclasses

GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of chip. Rates and sizes are those of one JAX device, which is a chip or a part of one.

    Attributes:
        name: in topologies, such as v5e.
        device_kind: what `jax.Device.device_kind` says.
        dimensions: of the network between chips, a torus where it is large enough.
        pod: chips of the largest slice.
        devices: JAX devices on a chip.
        flops: bf16 products, a second.
        memory: bytes that a program may use; the compiler keeps some of the published size for itself.
        memory_rate: bytes a second from and to it.
        ici: bytes a second that a device sends to its neighbours, over all links together.
        dcn: bytes a second that it sends to other slices: its share of the host's network.
    """

    name: str
    device_kind: str
    dimensions: int
    pod: int
    devices: int
    flops: float
    memory: float
    memory_rate: float
    ici: float
    dcn: float


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", "TPU v4", 3, 4096, 1, 275e12, 30.75 * GIB, 1200e9, 270e9, 6.25e9),
        Chip("v5e", "TPU v5 lite", 2, 256, 1, 197e12, 15.75 * GIB, 819e9, 200e9, 3.125e9),
        Chip("v5p", "TPU v5", 3, 8960, 1, 459e12, 95.73 * GIB, 2765e9, 600e9, 6.25e9),
        Chip("v6e", "TPU v6 lite", 2, 256, 1, 918e12, 31.24 * GIB, 1638e9, 400e9, 12.5e9),
        Chip("7x", "TPU7x", 3, 9216, 2, 2307e12 / 2, 94.74 * GIB, 7370e9 / 2, 300e9, 6.25e9),
    )
}
"""By name. Where the figures are from:

flops, memory_rate, ici, pod: cloud.google.com/tpu/docs/v4, /v5e, /v5p, /v6e and /tpu7x, the tables of specifications
(ici is half of "bidirectional inter-chip interconnect bandwidth", one direction); v4's ici is six links of 45e9,
jax-ml.github.io/scaling-book/tpus; 7x's memory_rate is of blog.google on Ironwood, April 2025.
memory: what libtpu 0.0.52 says is available when a program does not fit (published: 32, 16, 95, 32 and 2 x 96 GiB).
dcn: v5p's and 7x's 50 Gbit/s a device (docs/v5p; 7x 100 a chip), v5e's 6.4 Tbit/s a pod of 256, v6e's 4 x 200 Gbit/s a
host of 8; v4 has none published, 25e9 bytes a host of 4 is the scaling book's typical value.
"""

CHIPS_PER_HOST = 4
"""Of a slice that has several hosts."""


GPUS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "GH200": 989e12, "B200": 2250e12}
"""bf16 products a second without sparsity, by a word of the device's name: NVIDIA's data sheets of the SXM boards, half
of what is marked "with sparsity" there; the PCIe boards do less."""


def peak_flops(device_kind: str) -> float | None:
    """bf16 products a second that a device does at most, an addition counted apart; None for what is in no table."""
    chip = chip_of(device_kind)
    if chip is not None:
        return chip.flops
    return next((GPUS[word] for word in device_kind.replace("-", " ").split() if word in GPUS), None)


def chip_of(device_kind: str) -> Chip | None:
    """The chip whose devices call themselves so; None for what is not in the table."""
    return next((chip for chip in CHIPS.values() if chip.device_kind == device_kind), None)
