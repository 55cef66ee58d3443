import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.parallel.hlo_collectives import SLICES, Collective, MeshAxes, parse_groups, read_collective
from mobilebert_jax.parallel.hlo_text import parse_module

SHAPE = {"replica": 1, "data": 2, "fsdp": 2, "tensor": 2}


def sorted_groups(groups):
    return sorted(sorted(group) for group in groups)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,1},{2,3}}", [[0, 1], [2, 3]]),
        ("replica_groups=[2,4]<=[8]", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("replica_groups=mesh['axis_0'=4] {'axis_0'}", [[0, 1, 2, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=(0,3,1,2) {'b'}", [[0, 3], [1, 2]]),
        ("replica_groups=mesh['a'=8] {'a':(1)2}", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", [[0, 2], [1, 3], [4, 6], [5, 7]]),
        ("replica_groups={}", []),
    ],
)
def test_every_form_of_groups_is_read(text, groups):
    assert sorted_groups(parse_groups(f", channel_id=1, {text}, use_global_device_ids=true")) == groups


AXES = [axes for count in (1, 2, 3) for axes in itertools.combinations(("data", "fsdp", "tensor"), count)]


@pytest.mark.parametrize("axes", AXES)
def test_groups_are_named_by_the_axes_along_which_their_devices_differ(axes):
    places = np.arange(8).reshape(2, 2, 2)
    gone = [("data", "fsdp", "tensor").index(name) for name in axes]
    kept = [index for index in range(3) if index not in gone]
    groups = places.transpose([*kept, *gone]).reshape(-1, 2 ** len(axes))
    assert MeshAxes(SHAPE).name(tuple(map(tuple, groups.tolist()))) == ("+".join(axes), 2 ** len(axes))


def test_groups_that_follow_no_axes_are_said_to():
    assert MeshAxes(SHAPE).name(((0, 3), (1, 2), (4, 7), (5, 6))) == ("other", 2)
    assert MeshAxes(SHAPE).name(()) == ("other", 8)


def test_with_slices_the_groups_are_those_of_one_slice():
    axes = MeshAxes({"replica": 2, "data": 4, "fsdp": 1, "tensor": 1}, slices=2)
    assert axes.name(((0, 1, 2, 3),)) == ("data", 4)
    assert axes.name(SLICES) == ("replica", 2) and axes.outer == "replica"


@given(st.integers(2, 4096), st.integers(1, 1 << 20))
def test_what_a_device_sends_grows_to_the_array_itself(size, count):
    once = Collective("all-gather", "f32", count, ()).wire_bytes(size)
    assert count / 2 <= once < count
    assert Collective("all-reduce", "f32", count, ()).wire_bytes(size) == 2 * once
    assert Collective("collective-permute", "f32", count, ()).wire_bytes(size) == count


def found_in(module):
    return [
        found
        for computation in module.computations.values()
        for each in computation.instructions.values()
        if (found := read_collective(computation, each))
    ]


@pytest.mark.parametrize("axis", ["tensor", "fsdp"])
def test_a_mean_is_an_all_reduce_over_the_axis_that_was_split(texts, axis):
    (found,) = found_in(texts.module(f"mean_over_{axis}"))
    mesh = MeshAxes({"data": 2, "fsdp": 2, "tensor": 2})
    assert (found.kind, found.bytes, mesh.name(found.groups)) == ("all-reduce", 4, (axis, 2))


def test_a_gather_counts_the_whole_array(texts):
    found = [each for each in found_in(texts.module("gather")) if each.kind == "all-gather"]
    mesh = MeshAxes({"data": 2, "fsdp": 2, "tensor": 2})
    # The compiler may take the first layer before it gathers.
    assert found and {mesh.name(each.groups) for each in found} == {("fsdp", 2)}
    assert sum(each.bytes for each in found) in (5 * 32 * 32 * 4, 32 * 32 * 4)


BETWEEN_SLICES = """HloModule m
ENTRY %main (p: f32[44,8,128]) -> token[] {
  %p = f32[44,8,128]{2,1,0:T(8,128)} parameter(0)
  %after-all = token[] after-all()
  %send = (f32[44,8,128]{2,1,0:T(8,128)}, u32[], token[]) send(%p, %after-all), channel_id=2, is_host_transfer=true, frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
  ROOT %send-done = token[] send-done(%send), channel_id=2
}
"""  # noqa: E501


def test_what_slices_say_to_each_other_goes_over_the_outer_axis():
    (found,) = found_in(parse_module(BETWEEN_SLICES))
    assert (found.kind, found.bytes, found.groups) == ("all-reduce", 44 * 8 * 128 * 4, SLICES)
