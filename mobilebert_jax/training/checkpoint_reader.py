"""A checkpoint on disk as it is: without the model that made it, and without touching it."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from mobilebert_jax.training.checkpoints import CHECKSUM
from mobilebert_jax.training.checksum import host_checksum
from mobilebert_jax.utils.errors import UserError, first_line
from mobilebert_jax.utils.files import read_json
from mobilebert_jax.utils.trees import named_leaves
from mobilebert_jax.utils.types import Params

MARK = "_CHECKPOINT_METADATA"
"""What Orbax writes into the folder of every finished step."""


@dataclasses.dataclass(frozen=True)
class StoredCheckpoint:
    """One step's folder: `meta` (phase, stage, step, ...) and the leaves' shapes and dtypes, before any array is read.

    `leaves` are named as in `params/encoder/layers/...` and `opt_state/...`.
    """

    folder: Path
    meta: dict[str, Any]
    leaves: dict[str, jax.ShapeDtypeStruct]
    _tree: Any = dataclasses.field(repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> "StoredCheckpoint":
        """Reads what the folder of one step says about itself; UserError when it is none, unfinished or damaged."""
        folder = Path(folder).resolve()
        if not is_step(folder):
            raise UserError(f"{folder}: no finished checkpoint there (no {MARK})")
        try:
            meta = dict(read_json(folder / "meta" / "metadata"))
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
                metadata = reader.metadata(folder / "state").item_metadata
            if metadata is None:
                raise ValueError("files of its state are missing or damaged")
            tree = metadata.tree
            found = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in named_leaves(tree).items()}
            found.pop(CHECKSUM)
            found = dict(sorted(found.items(), key=lambda item: not item[0].startswith("params/")))
        except Exception as error:  # whatever Orbax and TensorStore raise on damaged files
            raise UserError(f"{folder}: the checkpoint cannot be read ({first_line(error)})") from error
        return cls(folder, meta, found, tree)

    def load(self) -> dict[str, np.ndarray]:
        """All arrays by name, in host memory; UserError when they cannot be read."""
        wanted = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), self._tree)
        try:
            with ocp.PyTreeCheckpointer() as reader:
                tree = reader.restore(self.folder / "state", args=ocp.args.PyTreeRestore(restore_args=wanted))
        except Exception as error:  # as above
            raise UserError(f"{self.folder}: the checkpoint cannot be read ({first_line(error)})") from error
        arrays = named_leaves(tree)
        if arrays.pop(CHECKSUM) != host_checksum(arrays):
            raise UserError(f"{self.folder}: the checkpoint is damaged: some bits are not those that were saved")
        return arrays

    def load_params(self, shardings: Any = None) -> Params:
        """The parameters alone, in host memory, or laid out by a tree of shardings like theirs.

        The optimizer's slots are not read; the checksum, which covers them too, is therefore not compared.

        Raises:
            UserError: they cannot be read.
        """
        params = self._tree["params"]
        if shardings is None:
            wanted = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), params)
        else:
            wanted = jax.tree.map(lambda _, to: ocp.ArrayRestoreArgs(sharding=to), params, shardings)
        item = {"params": jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)}
        arguments = ocp.args.PyTreeRestore(item=item, restore_args={"params": wanted}, partial_restore=True)
        try:
            with ocp.PyTreeCheckpointer() as reader:
                return reader.restore(self.folder / "state", args=arguments)["params"]
        except Exception as error:  # as above
            raise UserError(f"{self.folder}: the checkpoint cannot be read ({first_line(error)})") from error


def is_step(folder: Path) -> bool:
    """True for the folder of one finished step."""
    return (folder / MARK).is_file() and (folder / "state").is_dir()


def finished_steps(folder: str | Path) -> list[int]:
    """The finished steps in a phase's checkpoints folder, ascending; [] when there are none."""
    folder = Path(folder)
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(entry.name) for entry in entries if entry.name.isdigit() and is_step(entry))
