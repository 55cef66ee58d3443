"""Joining the other processes of a run, before anything else touches JAX's devices."""

import os
import socket
from pathlib import Path

import jax

from mobilebert_jax.parallel.roll_call import roll_call
from mobilebert_jax.utils.errors import UserError, first_line

TIMEOUT = 300
"""Seconds that processes wait for each other at the start, and at the end."""

IN_A_CLUSTER = ("SLURM_STEP_NODELIST", "TPU_WORKER_HOSTNAMES", "MEGASCALE_COORDINATOR_ADDRESS", "OMPI_COMM_WORLD_SIZE")
"""Variables that a step of SLURM, a TPU pod on GKE, several TPU slices and Open MPI set."""


def start(coordinator: str = "", num_processes: int = 0, process_id: int = -1, timeout: int = TIMEOUT) -> None:
    """Joins the processes named, or those that JAX finds by itself on Cloud TPU, GKE, SLURM and Open MPI.

    Without a cluster around and without arguments nothing happens: one process needs nobody. `num_processes` 1 alone
    starts a coordinator for this one.

    Raises:
        UserError: arguments that do not fit together, or processes that do not answer within `timeout` seconds.
    """
    if jax.distributed.is_initialized():
        return
    if timeout < 1:
        raise UserError(f"--coordinator_timeout={timeout}: must be at least 1 second")
    if num_processes == 1 and not coordinator:
        coordinator, process_id = f"localhost:{_free_port()}", 0
    given = bool(coordinator), num_processes > 0, process_id >= 0
    if not any(given) and not _in_a_cluster():
        return
    if any(given) and not all(given):
        raise UserError("--coordinator=HOST:PORT, --num_processes and --process_id belong together: give all three")
    if not any(given):
        found = _found(timeout)
        if found:  # JAX, which finds the same, also gives each process its devices
            roll_call(*found, timeout)
        return _join(timeout)
    _check(coordinator, num_processes, process_id)
    roll_call(coordinator, num_processes, process_id, timeout)
    _join(timeout, coordinator_address=coordinator, num_processes=num_processes, process_id=process_id)


def _found(timeout: int) -> tuple[str, int, int] | None:
    """(coordinator, number of processes, this one's) of the cluster around; None where JAX finds none."""
    from jax._src.clusters import ClusterEnv  # has no public name yet

    try:
        coordinator, count, number, _ = ClusterEnv.auto_detect_unset_distributed_params(*[None] * 5, timeout)
    except RuntimeError as error:
        raise UserError(f"--coordinator: the cluster's does not answer ({first_line(error)})") from error
    return (coordinator, count, number) if coordinator and count else None


def _join(timeout: int, **arguments) -> None:
    """`jax.distributed.initialize`; where JAX finds no cluster after all, this is one process."""
    # Signals are agreed on with what the steps compute (see training.stopping); JAX's own handler would take them away.
    jax.config.update("jax_enable_preemption_service", False)
    limits = {"initialization_timeout": timeout, "shutdown_timeout_seconds": timeout}
    try:
        jax.distributed.initialize(**arguments, **limits)
        jax.devices()  # all processes make their devices known to each other at once, or wait for ever
        _without_cache_on_cpu()
    except ValueError:
        if arguments:
            raise
    except RuntimeError as error:
        place = arguments.get("coordinator_address", "the cluster's coordinator")
        raise UserError(
            f"--coordinator={place}: not all {arguments.get('num_processes', '')} processes met there within {timeout} "
            f"seconds ({first_line(error)})"
        ) from error


def _without_cache_on_cpu() -> None:
    """Compiles anew: XLA's CPU programs out of a cache do their collectives in no fixed order, and two mix them up."""
    if jax.process_count() > 1 and jax.default_backend() == "cpu":
        jax.config.update("jax_enable_compilation_cache", False)


def _in_a_cluster() -> bool:
    if any(name in os.environ for name in IN_A_CLUSTER):
        return True
    # Of a TPU VM: accel0 for older kinds of chips, vfio/0 for newer ones, and for other devices too; JAX then asks.
    chips = any(any(Path("/dev").glob(pattern)) for pattern in ("accel[0-9]*", "vfio/[0-9]*"))
    return chips and "TPU_SKIP_MDS_QUERY" not in os.environ


def _check(coordinator: str, num_processes: int, process_id: int) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--coordinator={coordinator}: HOST:PORT is needed, such as 10.0.0.2:8476")
    if process_id >= num_processes:
        raise UserError(f"--process_id={process_id}: must lie between 0 and {num_processes - 1}, --num_processes - 1")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]
