"""Mesh shapes: what multiplies to the devices, and what is said where it does not."""

import math

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_jax.parallel.mesh import MeshShape, make_mesh
from mobilebert_jax.parallel.rules import AXES
from mobilebert_jax.utils.errors import UserError

SIZES = st.integers(1, 8)


@given(SIZES, SIZES, SIZES, SIZES)
def test_data_takes_what_the_other_axes_leave(replica, data, fsdp, tensor):
    devices = replica * data * fsdp * tensor
    found = MeshShape(replica, -1, fsdp, tensor).resolved(devices)
    assert found == MeshShape(replica, data, fsdp, tensor).resolved(devices)
    assert found.sizes == (replica, data, fsdp, tensor)


@given(SIZES, st.sampled_from([-1, 1, 2, 3, 5]), SIZES, SIZES, st.integers(1, 64))
def test_what_is_accepted_multiplies_to_the_devices(replica, data, fsdp, tensor, devices):
    shape = MeshShape(replica, data, fsdp, tensor)
    try:
        found = shape.resolved(devices)
    except UserError as error:
        assert f"the number of devices, {devices}" in str(error)
    else:
        assert math.prod(found.sizes) == devices


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (MeshShape(fsdp=3), "mesh: replica 1 x fsdp 3 x tensor 1 = 3 does not divide the number of devices, 8"),
        (
            MeshShape(data=2, fsdp=2),
            "mesh: replica 1 x data 2 x fsdp 2 x tensor 1 = 4 is not the number of devices, 8; mesh.data=-1 takes",
        ),
        (MeshShape(fsdp=0), "mesh.fsdp=0: must be at least 1"),
        (MeshShape(fsdp=-1), "mesh.fsdp=-1: must be at least 1"),
        (MeshShape(data=0), "mesh.data=0: must be at least 1, or -1"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused_with_its_numbers(shape, says):
    with pytest.raises(UserError) as error:
        shape.resolved(8)
    assert str(error.value).startswith(says)


def test_the_mesh_of_this_machine_has_all_axes():
    mesh = make_mesh(MeshShape())
    assert mesh.axis_names == AXES
    assert mesh.size == jax.device_count()


class Chip:
    """As much of a TPU as a mesh looks at: a chip at a place in a slice."""

    platform, device_kind, core_on_chip = "tpu", "TPU v5 lite", 0

    def __init__(self, number, slice_index, per_slice):
        self.id, self.slice_index, self.process_index = number, slice_index, number // 4
        place = number % per_slice
        self.coords = (place % 2, place // 2, 0)


def test_each_slice_is_one_replica():
    chips = [Chip(number, number // 8, 8) for number in range(16)]
    mesh = make_mesh(MeshShape(replica=2, fsdp=4), chips)
    assert mesh.devices.shape == (2, 2, 4, 1)
    for index, replica in enumerate(mesh.devices):
        assert {chip.slice_index for chip in replica.flat} == {index}
    with pytest.raises(UserError, match=r"mesh.replica=1: the devices lie in 2 slices, one replica each"):
        make_mesh(MeshShape(fsdp=4), chips)
