"""Processes find each other at a port, or each says in time who is missing."""

import socket
import threading

import pytest

from mobilebert_jax.parallel.roll_call import roll_call
from mobilebert_jax.parallel.start import start
from mobilebert_jax.utils.errors import UserError


@pytest.fixture
def coordinator():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return f"localhost:{found.getsockname()[1]}"


def call_all(coordinator, count, present, timeout):
    """number -> what went wrong for it, or None."""
    outcomes = {}

    def join(number):
        try:
            roll_call(coordinator, count, number, timeout)
            outcomes[number] = None
        except UserError as error:
            outcomes[number] = str(error)

    threads = [threading.Thread(target=join, args=(number,)) for number in present]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def test_all_go_on_once_all_are_there(coordinator):
    assert call_all(coordinator, 4, [3, 0, 2, 1], 20) == dict.fromkeys(range(4))


def test_the_first_says_who_is_missing_and_the_others_that_they_wait(coordinator):
    found = call_all(coordinator, 4, [0, 2], 1)
    assert found[0] == (
        f"--coordinator={coordinator}: of 4 processes, 1, 3 did not come within 1 seconds; "
        "start each with its --process_id"
    )
    assert found[2].startswith(f"--coordinator={coordinator}: does not let process 2 in within 1 seconds")


def test_a_strangers_connection_does_not_count(coordinator):
    stranger = threading.Timer(0.3, lambda: _send(coordinator, b"GET / HTTP/1.1"))
    stranger.start()
    assert "1 did not come" in call_all(coordinator, 2, [0], 1.5)[0]


def _send(coordinator, words):
    host, _, port = coordinator.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(words)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("localhost:1", 2, -1), "--coordinator=HOST:PORT, --num_processes and --process_id belong together"),
        (("", 2, 0), "--coordinator=HOST:PORT, --num_processes and --process_id belong together"),
        (("localhost", 2, 0), "--coordinator=localhost: HOST:PORT is needed"),
        (("localhost:8476", 2, 2), "--process_id=2: must lie between 0 and 1"),
        (("localhost:8476", 2, 0, 0), "--coordinator_timeout=0: must be at least 1 second"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(arguments, says):
    with pytest.raises(UserError) as error:
        start(*arguments)
    assert str(error.value).startswith(says)
