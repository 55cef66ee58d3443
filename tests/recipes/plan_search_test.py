"""The search, with a compiler that knows how much a batch needs."""

import math
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.parallel.topologies import parse_topology
from mobilebert_jax.recipes import plan_search
from mobilebert_jax.recipes.plan import DoesNotFit, plannable
from mobilebert_jax.recipes.plan_search import LARGEST, candidates, search_recipe

FIXED, EACH = {"dp": 8.0, "fsdp": 1.0, "tensor": 3.0, "fsdp_tensor": 0.5}, 0.25
"""GiB that a preset's parameters need, and each of a device's examples; a device has 16."""
SECONDS = {"dp": 1.0, "fsdp": 1.2, "tensor": 3.0, "fsdp_tensor": 4.0}


@pytest.fixture
def asked(monkeypatch):
    """What the compiler was asked to compile: (preset, batch)."""
    asked = []

    def layout_of(config, devices):
        mesh = config.mesh
        shape = {"replica": mesh.replica, "data": 0, "fsdp": mesh.fsdp, "tensor": mesh.tensor}
        shape["data"] = len(devices) // math.prod([mesh.replica, mesh.fsdp, mesh.tensor])
        shards = len(devices) // mesh.tensor
        return SimpleNamespace(mesh=SimpleNamespace(shape=shape), batch_shards=shards, check_batch=lambda *_: None)

    def compiled(steps, layout, place, show):
        preset, batch_size = steps.config.mesh.preset, steps.config[steps.name].batch_size
        asked.append((preset, batch_size))
        if FIXED[preset] + EACH * batch_size / layout.batch_shards > 16:
            raise DoesNotFit("too large")
        return {"seconds": {"step": SECONDS[preset]}}

    monkeypatch.setattr(plan_search, "topology_devices", lambda place: [None] * place.devices)
    monkeypatch.setattr(plan_search, "make_layout", layout_of)
    monkeypatch.setattr(plan_search, "phase_row", compiled)
    return asked


def search(batch_size, phase="teacher"):
    config = load_config("mobilebert", [f"{phase}.batch_size={batch_size}"])
    (row,) = search_recipe(config, "v5e:4x4", phases=(phase,))["phases"]
    return row, {each["preset"]: each for each in row["candidates"]}


def test_the_largest_batch_and_the_fastest_preset_are_found(asked):
    row, found = search(batch_size=64)
    # 16 devices, 8 GiB left of 16 at 0.25 an example: 32 a device.
    assert found["dp"]["batch_per_device"] == 32 and found["dp"]["seconds"] == 1.0
    assert found["fsdp"]["batch_per_device"] == 32 and found["tensor"]["batch_per_device"] == 32
    assert row["fastest"] == "dp"
    assert [batch for preset, batch in asked if preset == "dp"] == [64, 128, 256, 512, 1024]


def test_a_batch_that_is_too_large_is_halved(asked):
    row, found = search(batch_size=16 * 48)
    assert found["dp"]["seconds"] is None and found["dp"]["batch_per_device"] == 24
    assert row["fastest"] == "fsdp"


def test_a_preset_that_never_fits_and_one_that_always_does(asked, monkeypatch):
    monkeypatch.setitem(FIXED, "dp", 17.0)
    monkeypatch.setitem(FIXED, "fsdp", -1e9)
    _, found = search(batch_size=64)
    assert found["dp"]["batch_per_device"] == 0
    assert found["fsdp"]["batch_per_device"] == 64 * LARGEST / 16


@pytest.mark.parametrize(("topology", "slices"), [("v5e:2x1", 1), ("v5e:4x4", 1), ("7x:2x2x1", 1), ("v5e:16x16", 2)])
def test_every_preset_is_tried_on_a_mesh_that_uses_it(topology, slices):
    place = parse_topology(topology, slices)
    config = plannable(load_config("mobilebert", []), slices)
    for found in candidates(config, place):
        assert isinstance(found, ConfigDict)
        mesh = found.mesh
        assert place.devices % (mesh.replica * mesh.fsdp * mesh.tensor) == 0
        assert mesh.replica == slices
        assert config.model.teacher.num_attention_heads % mesh.tensor == 0
        if place.devices // slices >= 8:
            assert (mesh.fsdp > 1) == ("fsdp" in mesh.preset) and (mesh.tensor > 1) == ("tensor" in mesh.preset)
