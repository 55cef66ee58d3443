"""Presets as data: which mesh axis each logical axis of a parameter or an activation is split over."""

import dataclasses
from collections.abc import Mapping

from mobilebert_jax.utils.errors import UserError

AXES = ("replica", "data", "fsdp", "tensor")
"""Mesh axes from the slowest network to the fastest: replica goes over DCN, tensor between neighbours."""

BATCH_AXES = ("replica", "data", "fsdp")
"""What the batch is split over, whatever the preset."""

NAMES = frozenset(
    "layers vocab position token_type trigram embed inner heads mlp norm classes transform pooled "
    "batch length".split()
)
"""Every logical axis name of the models (see models/layers.py)."""

NEVER_SPLIT = ("layers", "batch", "length")
"""Names no rule may give away: loops take whole layers, the batch has its own axes, tokens see all tokens."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """Logical axis -> mesh axis, for parameters at rest (`stored`) and for what is computed with (`computed`).

    An axis is gathered, one layer at a time, where `stored` splits it and `computed` does not. In `stored` the first
    rule wins where two would give one mesh axis to the same parameter.

    Raises:
        UserError: a rule for a name that no model has, for one that may not be split, or to no mesh axis.
    """

    stored: Mapping[str, str] = dataclasses.field(default_factory=dict)
    computed: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name, axis in (*self.stored.items(), *self.computed.items()):
            check_name(name)
            if name in NEVER_SPLIT:
                raise UserError(f"sharding rule {name} -> {axis}: the {name} axis is never split by a rule")
            if axis not in AXES:
                raise UserError(f"sharding rule {name} -> {axis}: no such mesh axis; there are {', '.join(AXES)}")


def check_name(name: str) -> None:
    """UserError for a logical axis that no model has."""
    if name not in NAMES:
        raise UserError(f"logical axis {name!r}: no such name; there are {', '.join(sorted(NAMES))}")


_COLUMNS = {"heads": "tensor", "mlp": "tensor", "vocab": "tensor"}

# Every matrix has one of these; where it has several, the first.
_AT_REST = {name: "fsdp" for name in ("embed", "mlp", "heads", "transform", "trigram", "inner")}
_BOTH = _COLUMNS | {name: axis for name, axis in _AT_REST.items() if name not in _COLUMNS}

PRESETS = {
    "dp": Preset(),
    "fsdp": Preset(stored=_AT_REST),
    "tensor": Preset(stored=_COLUMNS, computed=_COLUMNS),
    "fsdp_tensor": Preset(stored=_BOTH, computed=_COLUMNS),
}
"""dp: parameters whole on every device. fsdp: split at rest, gathered layer by layer. tensor: heads and the inside of
feed-forward networks split between neighbours. fsdp_tensor: both."""


def preset(name: str, setting: str = "mesh.preset") -> Preset:
    """The preset of that name; UserError that names the setting and the known ones."""
    if name not in PRESETS:
        raise UserError(f"{setting}={name!r}: must be one of {', '.join(PRESETS)}")
    return PRESETS[name]
