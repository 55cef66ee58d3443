"""Whether all processes of a run are there, asked over plain sockets: JAX's own start aborts where one is missing."""

import contextlib
import socket
import time

from mobilebert_jax.utils.errors import UserError

RETRY = 0.2
"""Seconds between two tries to reach process 0."""


def roll_call(coordinator: str, num_processes: int, process_id: int, timeout: float) -> None:
    """Returns in all processes once each has come; process 0 listens at `coordinator`, and leaves the port free again.

    Raises:
        UserError: after `timeout` seconds; process 0 names who is missing, the others what does not answer.
    """
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + timeout
    if process_id:
        _report((host.strip("[]"), int(port)), coordinator, process_id, deadline, timeout)
    elif num_processes > 1:
        _listen(int(port), coordinator, num_processes, deadline, timeout)


def _listen(port: int, coordinator: str, num_processes: int, deadline: float, timeout: float) -> None:
    try:
        # Both families where the machine has both.
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        server = socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=num_processes)
    except OSError as error:
        raise UserError(f"--coordinator={coordinator}: process 0 cannot listen there: {error.strerror}") from error
    with server, contextlib.ExitStack() as open_ones:
        came: dict[int, socket.socket] = {}
        while len(came) < num_processes - 1:
            server.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                connection = open_ones.enter_context(server.accept()[0])
                connection.settimeout(5)
                came[int(connection.recv(16))] = connection
            except TimeoutError as error:
                if time.monotonic() < deadline:
                    continue
                missing = ", ".join(str(each) for each in range(1, num_processes) if each not in came)
                raise UserError(
                    f"--coordinator={coordinator}: of {num_processes} processes, {missing} did not come within "
                    f"{timeout:g} seconds; start each with its --process_id"
                ) from error
            except (OSError, ValueError):  # somebody else's connection
                continue
        for connection in came.values():
            with contextlib.suppress(OSError):  # it has gone; JAX will notice
                connection.sendall(b"go")


def _report(address: tuple[str, int], coordinator: str, process_id: int, deadline: float, timeout: float) -> None:
    reason: object = "no answer"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(address, timeout=5) as connection:
                connection.sendall(str(process_id).encode())
                connection.settimeout(max(deadline - time.monotonic(), 0.01))
                if connection.recv(2) == b"go":
                    return
        except OSError as error:
            reason = error.strerror or error
        time.sleep(RETRY)
    raise UserError(
        f"--coordinator={coordinator}: does not let process {process_id} in within {timeout:g} seconds ({reason}); "
        "is process 0 started there, and every other one?"
    )
