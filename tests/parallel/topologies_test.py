import importlib.util
import subprocess
import sys

import pytest

from mobilebert_jax.parallel.chips import CHIPS, GIB, chip_of
from mobilebert_jax.parallel.topologies import parse_topology, topology_devices
from mobilebert_jax.utils.errors import UserError


@pytest.mark.parametrize(
    ("text", "slices", "chips", "devices", "hosts"),
    [
        ("v4:4x4x4", 1, 64, 64, 16),
        ("v5e:1x1", 1, 1, 1, 1),
        ("v5e:16x16", 2, 512, 512, 128),
        ("v5p:4x4x4", 1, 64, 64, 16),
        ("v6e:2x4", 3, 24, 24, 6),
        ("7x:2x2x1", 1, 4, 8, 1),
    ],
)
def test_a_shape_has_chips_devices_and_hosts(text, slices, chips, devices, hosts):
    place = parse_topology(text, slices)
    assert (place.name, place.chips, place.devices, place.hosts) == (text, chips, devices, hosts)


@pytest.mark.parametrize(
    ("text", "slices", "message"),
    [
        ("v9:2x2", 1, "no kind 'v9'; there are v4, v5e, v5p, v6e, 7x"),
        ("16x16", 1, "no kind '16x16'"),
        ("v5e:4x4x4", 1, "v5e has shapes of 2 sizes, such as v5e:4x4"),
        ("v5p:4x4", 1, "v5p has shapes of 3 sizes"),
        ("v5e:", 1, "v5e has shapes"),
        ("v5e:0x4", 1, "v5e has shapes"),
        ("v5e:4xfour", 1, "v5e has shapes"),
        ("v5e:32x16", 1, "at most 256 chips; take several"),
        ("v5e:4x4", 0, "--slices=0: must be at least 1"),
    ],
)
def test_a_shape_that_is_none_is_refused(text, slices, message):
    with pytest.raises(UserError, match=message):
        parse_topology(text, slices)


def test_published_figures_are_of_one_device_and_plausible():
    for chip in CHIPS.values():
        assert chip_of(chip.device_kind) is chip
        # Products outrun memory by far, memory outruns neighbours, neighbours outrun other slices.
        assert 100 < chip.flops / chip.memory_rate < 1000
        assert chip.memory_rate > chip.ici > chip.dcn
        assert 15 * GIB < chip.memory < 100 * GIB
    assert chip_of("cpu") is None


def test_without_libtpu_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"libtpu: pip install 'mobilebert-jax\[plan\]'"):
        topology_devices(parse_topology("v5e:2x2"))


ASK = """
from mobilebert_jax.parallel.topologies import parse_topology, topology_devices
for text, slices in (("v4:2x2x1", 1), ("v5e:4x4", 2), ("v5p:2x2x2", 1), ("v6e:2x2", 1), ("7x:2x2x1", 1)):
    place = parse_topology(text, slices)
    found = topology_devices(place)
    assert {device.device_kind for device in found} == {place.chip.device_kind}, found
    assert len({getattr(device, "slice_index", 0) for device in found}) == slices
try:
    topology_devices(parse_topology("v5e:3x5"))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_libtpu_has_the_devices_that_the_table_says():
    # By itself: libtpu belongs to one process at a time, until that ends.
    process = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=120)
    if "in use by another process" in process.stderr:
        pytest.skip("libtpu is in use")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("UserError --topology=v5e:3x5: libtpu knows no such slice")
