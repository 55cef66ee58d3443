"""Checkpoints of one phase, through Orbax: asynchronous, atomic, the newest few kept.

Only this file and checkpoint_reader.py know Orbax, whose interface moves; what is used here is common to 0.11.36 and
0.12.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from mobilebert_jax.utils.types import Params


class Checkpoints:
    """`<phase>/checkpoints/`: whole parameters, the running stage's optimizer slots, and a small JSON beside them."""

    def __init__(self, folder: str | Path, keep: int):
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.LatestN(keep), enable_async_checkpointing=True
        )
        self._manager = ocp.CheckpointManager(Path(folder).resolve(), options=options)

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """(step, meta) of the newest finished checkpoint, read before any state is built; None when there is none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        restored = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
        return step, restored["meta"]

    def save(self, step: int, params: Params, opt_state: Any, meta: dict[str, Any]) -> None:
        """Starts writing; returns once the arrays are out of the way of the next, donating step."""
        if step in self._manager.all_steps():
            return
        tree = _copied({"params": params, "opt_state": opt_state})
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=arguments, force=True)

    def restore(self, step: int, params: Params, opt_state: Any) -> tuple[Params, Any]:
        """Parameters and slots in the shapes given (`jax.ShapeDtypeStruct` leaves)."""
        target = {"params": params, "opt_state": opt_state}
        single = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        target = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=single), target)
        restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))
        # Through the host: what Orbax hands over may not own its memory, which a donating step needs, and is committed
        # to its device, for which jit would compile every step a second time.
        tree = jax.tree.map(lambda leaf: jnp.array(np.asarray(leaf)), restored["state"])
        return tree["params"], tree["opt_state"]

    def wait(self) -> None:
        """Blocks until everything started is on disk; raises what went wrong there."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and frees the manager's threads."""
        self._manager.close()


@jax.jit
def _copied(tree: Any) -> Any:
    """The tree in fresh buffers: on CPU the writer would otherwise read memory that the next step reuses."""
    return jax.tree.map(jnp.copy, tree)
