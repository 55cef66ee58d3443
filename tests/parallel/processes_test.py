"""Alone, a process does everything itself; a store stands in for the service where several must agree."""

import threading

import jax
import numpy as np
import pytest

from mobilebert_jax.parallel import processes
from mobilebert_jax.utils.errors import Stopped, UserError


def test_one_process_is_the_first_and_asks_nobody():
    assert processes.is_first() and not processes.several()
    assert [processes.any_process(flag) for flag in (True, False)] == [True, False]
    assert [processes.first_says(flag) for flag in (True, False)] == [True, False]
    assert processes.exchange("mine") == ["mine"]
    assert processes.on_first(lambda: 3) == 3
    np.testing.assert_array_equal(processes.whole({"a": jax.numpy.arange(3)})["a"], np.arange(3))
    processes.leave()


@pytest.mark.parametrize("error", [UserError("bad"), Stopped("asked"), RuntimeError("broken")])
def test_what_the_only_process_raises_passes(error):
    with pytest.raises(type(error), match=str(error)):
        processes.on_first(lambda: raised(error))


def raised(error):
    raise error


class Store:
    """The part of JAX's key-value store that is used, for several threads in the place of processes."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self.values
        self.values[key] = value

    def key_value_try_get(self, key):
        if key not in self.values:
            raise jax.errors.JaxRuntimeError(f"NOT_FOUND: {key}")
        return self.values[key]


@pytest.fixture
def as_process(monkeypatch):
    """Calls a function as each of three processes at once: function -> what each returned or raised, by number."""
    own, store = threading.local(), Store()

    class State:
        client, num_processes = store, 3

        @property
        def process_id(self):
            return own.number

    class Numbers:
        def __next__(self):
            own.calls = getattr(own, "calls", 0) + 1
            return own.calls

    monkeypatch.setattr(processes, "_state", State)
    monkeypatch.setattr(processes, "_numbers", Numbers())

    def call(function):
        outcomes = {}

        def run(number):
            own.number = number
            try:
                outcomes[number] = function()
            except Exception as error:
                outcomes[number] = error

        threads = [threading.Thread(target=run, args=(number,)) for number in (2, 1, 0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return [outcomes[number] for number in range(3)]

    return call


def test_all_hear_what_each_says_in_order(as_process):
    def say():
        first = processes.exchange(f"I am {processes._state().process_id}")
        return first, processes.exchange("again")

    told = ["I am 0", "I am 1", "I am 2"]
    assert as_process(say) == [(told, ["again"] * 3)] * 3


def test_the_first_works_and_the_others_wait_for_it(as_process):
    did = []
    work = lambda: did.append(processes.is_first()) or "made"  # noqa: E731
    assert as_process(lambda: processes.on_first(work)) == ["made", None, None]
    assert did == [True]


@pytest.mark.parametrize(
    ("error", "elsewhere"),
    [
        (UserError("data.corpus is empty"), processes.RefusedElsewhere),
        (Stopped("received SIGTERM; the text is not prepared yet"), Stopped),
        (KeyError("a mistake"), RuntimeError),
    ],
)
def test_what_ends_the_first_ends_the_others(as_process, error, elsewhere):
    first, *others = as_process(lambda: processes.on_first(lambda: raised(error)))
    assert first is error
    assert [type(each) for each in others] == [elsewhere] * 2
    if elsewhere is Stopped:
        assert {str(each) for each in others} == {str(error)}
