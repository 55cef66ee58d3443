"""Checkpoints of one phase, through Orbax: asynchronous, atomic, the newest few kept.

Only this file and checkpoint_reader.py know Orbax, whose interface moves; what is used here is common to 0.11.36 and
0.12.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from mobilebert_jax.parallel import processes
from mobilebert_jax.training.checksum import checksum, host_checksum
from mobilebert_jax.utils.addresses import is_address
from mobilebert_jax.utils.errors import UserError, first_line
from mobilebert_jax.utils.faults import machine_fault
from mobilebert_jax.utils.trees import named_leaves
from mobilebert_jax.utils.types import Params

T = TypeVar("T")

KINDS = ("gs", "s3")
"""Kinds of addresses that Orbax and TensorStore both know."""

CHECKSUM = "checksum"
"""What a checkpoint calls the checksum of all its other arrays."""

Target = Callable[[dict[str, Any]], tuple[Params, Any]]
"""A checkpoint's meta -> the shapes of its parameters and slots."""


class Checkpoints:
    """`<phase>/checkpoints/`: whole parameters, the running stage's optimizer slots, and a small JSON beside them.

    `folder` may be an address, gs://bucket/run/teacher/checkpoints. `before_save` is called before each is begun.
    """

    def __init__(self, folder: str | Path, keep: int, before_save: Callable[[], None] | None = None):
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.LatestN(keep),
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
        )
        self._folder = _place(folder)
        self._before_save = before_save
        _expect_late_callbacks()
        self._starter = ThreadPoolExecutor(1, "checkpoint")
        self._started: Future | None = None
        try:
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        except Exception as error:
            if not is_address(folder):
                raise
            raise UserError(f"{folder}: cannot be read ({first_line(error)})") from error

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, perhaps not yet finished; None when there is none."""
        with self._naming_the_folder():
            self._join()
        return self._manager.latest_step()

    def meta(self, step: int) -> dict[str, Any]:
        """The JSON of a checkpoint, read before any state is built."""
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]

    def restore_newest(self, target: Target, warn: Callable[[str], None]) -> tuple[int, dict, Params, Any] | None:
        """(step, meta, parameters, slots) of the newest checkpoint that can be read; None when there is none at all.

        Newer ones that cannot be read are named to `warn` and removed, so that the run can write them again.

        Raises:
            UserError: there are checkpoints, and none can be read; they are left as they are.
        """
        steps, damaged = sorted(self._manager.all_steps(), reverse=True), {}
        for step in steps:
            try:
                meta, shapes = _in_all(lambda step=step: self._described(step, target))
                params, opt_state = self.restore(step, *shapes)
            except Exception as error:  # whatever a library says about bytes that are not what it has written
                damaged[step] = error
                continue
            for bad, error in damaged.items():
                warn(f"{self._folder / str(bad)}: damaged ({first_line(error)}); going on from step {step}")
                self._manager.delete(bad)
            return step, meta, params, opt_state
        if damaged:
            names = ", ".join(str(step) for step in damaged)
            raise UserError(
                f"{self._folder}: no checkpoint there can be read (steps {names}: {first_line(damaged[steps[0]])}); "
                "put back a copy of one, or delete the folder to begin the phase anew"
            )
        return None

    def save(self, step: int, params: Params, opt_state: Any, meta: dict[str, Any]) -> None:
        """Starts writing; returns once the arrays are out of the way of the next, donating step.

        A process that is alone copies them to the host, and leaves all else to a thread: what Orbax does before it
        lets go is a third of a millisecond an array. Several processes meet in there, which their main threads must do.

        Raises:
            UserError: this checkpoint, or the one before, which is written in the background, cannot be written.
        """
        with self._naming_the_folder():
            self._join()
            if step in self._manager.all_steps():
                return
        if self._before_save:
            self._before_save()
        with self._naming_the_folder():
            tree = {"params": params, "opt_state": opt_state}
            if processes.several():
                self._write(step, _to_save(tree), meta)
            else:
                self._started = self._starter.submit(self._write_copy, step, _on_host(tree), meta)

    def _write_copy(self, step: int, tree: dict[str, Any], meta: dict[str, Any]) -> None:
        self._write(step, {**tree, CHECKSUM: np.uint32(host_checksum(named_leaves(tree)))}, meta)

    def _write(self, step: int, tree: dict[str, Any], meta: dict[str, Any]) -> None:
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(jax.tree.map(_filled, tree)), meta=ocp.args.JsonSave(meta)
        )
        self._manager.save(step, args=arguments, force=True)

    def _join(self) -> None:
        """Until the thread has handed everything to Orbax; raises what went wrong there, once."""
        started, self._started = self._started, None
        if started is not None:
            started.result()

    def _described(self, step: int, target: Target) -> tuple[dict, tuple[Params, Any]]:
        meta = self.meta(step)
        return meta, target(meta)

    def restore(self, step: int, params: Params, opt_state: Any) -> tuple[Params, Any]:
        """Parameters and slots in the shapes given (`jax.ShapeDtypeStruct` leaves).

        Leaves with a sharding are read straight into it, whatever they were saved from, on any number of processes.

        Raises:
            ValueError: they are not, bit for bit, what was saved; or whatever Orbax says of what it cannot read. What
                one process cannot read, none can.
        """
        tree = _in_all(lambda: self._read(step, {"params": params, "opt_state": opt_state}))
        if tree.pop(CHECKSUM) != _checksum(tree):
            raise ValueError("some bits are not those that were saved")
        return tree["params"], tree["opt_state"]

    def _read(self, step: int, shapes: dict[str, Any]) -> dict[str, Any]:
        """Fresh arrays: what Orbax hands over may not own its memory, which a donating step needs."""
        leaves = jax.tree.leaves(shapes)
        placed = leaves[0].sharding is not None
        single = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        whole = NamedSharding(leaves[0].sharding.mesh, PartitionSpec()) if placed else single
        target = {**shapes, CHECKSUM: jax.ShapeDtypeStruct((), jnp.uint32, sharding=whole)}
        shardings = jax.tree.map(lambda leaf: leaf.sharding or single, target)
        target = jax.tree.map(
            lambda leaf, to: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=to), target, shardings
        )
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(jax.tree.map(_filled, target)))
        state = self._manager.restore(step, args=arguments)["state"]
        state = jax.tree.map(lambda leaf, wanted: leaf if wanted.size else leaf[:0], state, target)
        if placed:
            return jax.jit(lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=shardings)(state)
        # Through the host: arrays committed to their device would make jit compile every step a second time.
        return jax.tree.map(lambda leaf: jnp.array(np.asarray(leaf)), state)

    def wait(self) -> None:
        """Blocks until everything started is on disk; UserError when that failed."""
        with self._naming_the_folder():
            self._join()
            self._manager.wait_until_finished()

    def check(self) -> None:
        """UserError when something started in the background has failed meanwhile; costs less than a microsecond."""
        with self._naming_the_folder():
            if self._started is not None and self._started.done():
                self._join()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Waits and frees the manager's threads."""
        self._starter.shutdown()
        with self._naming_the_folder():
            try:
                self._join()
            finally:
                self._manager.close()

    @contextlib.contextmanager
    def _naming_the_folder(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the writing thread's, in whatever Orbax has wrapped it
            reason = machine_fault(error) or first_line(error)
            raise UserError(
                f"{self._folder}: a checkpoint cannot be written ({reason}); put that right and start again: the run "
                "goes on from the last one that was"
            ) from error


def _place(folder: str | Path) -> Path | epath.Path:
    if not is_address(folder):
        return Path(folder).resolve()
    if str(folder).partition("://")[0] not in KINDS:
        raise UserError(f"{folder}: checkpoints can be written in a folder or at {', '.join(KINDS)}:// addresses only")
    # Else Orbax would reach buckets through TensorFlow wherever that is installed.
    os.environ.setdefault("EPATH_USE_TF", "false")
    return epath.Path(folder)


def _filled(leaf: Any) -> Any:
    """The leaf, or a row of zeros for one that has none, the blocks' of a model without blocks: Orbax refuses it."""
    if leaf.size:
        return leaf
    shape = (1, *leaf.shape[1:])
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=leaf.sharding)
    return np.zeros(shape, leaf.dtype)


def _in_all(work: Callable[[], T]) -> T:
    """`work()`; what fails in one process fails in all."""
    try:
        value, error = work(), None
    except Exception as found:
        value, error = None, found
    if processes.any_process(error is not None):
        raise error or ValueError("another process cannot read it")
    return value


@functools.cache
def _expect_late_callbacks() -> None:
    """Silences reads and writes that end after a failure has closed Orbax's event loop: each prints a traceback."""
    show, show_unraisable = sys.excepthook, sys.unraisablehook

    def is_late(error: BaseException | None) -> bool:
        return type(error) is RuntimeError and str(error) == "Event loop is closed"

    # A failed read ends in the one, a failed write in the other.
    sys.excepthook = lambda kind, error, trace: None if is_late(error) else show(kind, error, trace)
    sys.unraisablehook = lambda event: None if is_late(event.exc_value) else show_unraisable(event)


def _on_host(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree as numpy arrays of their own: on a CPU, arrays and their devices' share memory."""
    for leaf in jax.tree.leaves(tree):
        leaf.copy_to_host_async()
    return jax.tree.map(lambda leaf: np.array(leaf) if _on_cpu(leaf) else np.asarray(leaf), tree)


def _on_cpu(leaf: jax.Array) -> bool:
    return next(iter(leaf.devices())).platform == "cpu"


@jax.jit
def _to_save(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with its checksum, in fresh buffers: the writer would else read memory that the next step reuses."""
    return {**jax.tree.map(jnp.copy, tree), CHECKSUM: checksum(tree)}


_checksum = jax.jit(checksum)
