"""The fused forms equal the plain one, and are taken only where a kernel exists and nobody asks for maps."""

import functools
import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.models import attention as attention_module
from mobilebert_jax.models import fused_attention as fused_module
from mobilebert_jax.models.block import Block
from mobilebert_jax.models.cpu_attention import cpu_attention
from mobilebert_jax.models.encoder import MobileBert
from mobilebert_jax.models.fused_attention import cudnn_attention, fits_cudnn, fused_kernel
from mobilebert_jax.models.masks import make_mask
from mobilebert_jax.models.tpu_attention import tpu_attention
from tests.models.model_cases import VARIANTS, random_params, relative_error
from tests.training.quick import quick_jit

ROWS, LENGTH = 3, 16
PADDED = (np.arange(LENGTH) < np.array([[LENGTH], [9], [0]])).astype(np.int32)
SEGMENTS = np.repeat([[1, 2, 3, 0], [1, 1, 2, 2], [0, 0, 0, 0]], 4, axis=1).astype(np.int32)
MASKS = {
    "padding, one row nothing else": make_mask(jnp.asarray(PADDED)),
    "packed": make_mask(jnp.asarray(PADDED), jnp.asarray(SEGMENTS)),
}
PAIRS = make_mask(jnp.asarray(np.random.default_rng(0).integers(0, 2, (ROWS, LENGTH, LENGTH))))
KERNELS = {
    "cudnn's": functools.partial(cudnn_attention, implementation="xla"),
    "tpu's": functools.partial(tpu_attention, interpret=True),
    "cpu's": cpu_attention,
}
SHAPE = (8, 512, 4, 32)
ON_GPU = jax.default_backend() == "gpu"


def block_results(cfg, mask, **flags):
    """(output, gradients by parameters and input) of one block on random values."""
    block = Block(cfg)
    rng = np.random.default_rng(1)
    x, weights = (jnp.asarray(rng.normal(size=(ROWS, LENGTH, cfg.hidden_size)), jnp.float32) for _ in range(2))
    params = jax.tree.map(lambda leaf: leaf[0], random_params(MobileBert(cfg))["layers"])

    @quick_jit
    def results(params, x):
        def loss(params, x):
            out = block.apply({"params": params}, x, mask, **flags).hidden
            return (out * weights).sum(), out

        (_, out), grads = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)
        return out, grads

    out, grads = results(params, x)
    return out, jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(grads)])


def take(monkeypatch, kernel):
    """Makes every attention that may take a kernel take this one; returns the calls."""
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return kernel(*arguments)

    monkeypatch.setattr(attention_module, "fused_kernel", lambda *_, drops: counted)
    return calls


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("variant", ["mobilebert", "bert"])
def test_a_block_gives_the_same_by_either_kernel(variant, mask, monkeypatch):
    cfg = VARIANTS[variant]
    plain = block_results(cfg, mask)
    for kernel in KERNELS.values():
        calls = take(monkeypatch, kernel)
        for found, expected in zip(block_results(cfg, mask), plain, strict=True):
            assert relative_error(found, expected) < 1e-6
        assert calls


@pytest.mark.parametrize(("heads", "width"), [(4, 32), (2, 128), (3, 64)])
def test_heads_that_fill_lanes_together_or_alone_give_the_same(heads, width):
    rng = np.random.default_rng(2)
    arrays = [jnp.asarray(rng.normal(size=(1, LENGTH, heads * width)), jnp.float32) for _ in range(4)]
    rows = jnp.asarray(SEGMENTS[:1, None]), jnp.asarray(PADDED[1:2, None])

    @functools.partial(quick_jit, static_argnums=0)
    def results(kernel, *arrays):
        context, back = jax.vjp(lambda *own: kernel(*own, *rows, width), *arrays[:3])
        return jnp.stack([context, *back(arrays[3])])

    first, *others = (results(kernel, *arrays) for kernel in KERNELS.values())
    assert all(relative_error(other, first) < 1e-6 for other in others)


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, {"output_scores": True}),
        ({}, {"output_probs": True}),
        ({"attention_kernel": "plain"}, {}),
    ],
)
def test_the_plain_form_makes_maps_that_are_asked_for_or_all_where_the_config_says_so(changes, flags, monkeypatch):
    calls = take(monkeypatch, KERNELS["tpu's"])
    block_results(VARIANTS["mobilebert"].replace(**changes), MASKS["packed"], **flags)
    assert not calls


@pytest.mark.parametrize(("platform", "kernel"), [("tpu", None), ("gpu", None), ("cpu", cpu_attention)])
def test_probabilities_are_dropped_by_the_cpus_kernel_alone(platform, kernel, monkeypatch):
    device = SimpleNamespace(platform=platform, compute_capability="9.0")
    monkeypatch.setattr(fused_module, "target_device", lambda: device)
    assert fused_kernel(SHAPE, jnp.dtype(jnp.bfloat16), MASKS["packed"], drops=True) is kernel


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_cpus_kernel_drops_the_same_probabilities_as_the_plain_form(mask, monkeypatch):
    cfg = VARIANTS["mobilebert"].replace(attention_probs_dropout_prob=0.3)
    flags = {"deterministic": False, "rngs": {"dropout": jax.random.key(5)}}
    plain = block_results(cfg, mask, **flags)
    assert relative_error(block_results(cfg, mask)[0], plain[0]) > 1e-3
    calls = take(monkeypatch, cpu_attention)
    for found, expected in zip(block_results(cfg, mask, **flags), plain, strict=True):
        assert relative_error(found, expected) < 1e-6
    assert calls


@pytest.mark.parametrize(
    ("shape", "dtype", "capability", "fits"),
    [
        (SHAPE, jnp.bfloat16, "8.0", True),
        ((8, 512, 4, 256), jnp.bfloat16, "9.0", True),
        ((8, 512, 4, 256), jnp.bfloat16, "10.0", True),
        ((8, 512, 4, 256), jnp.bfloat16, "8.9", False),
        (SHAPE, jnp.bfloat16, "7.5", False),
        (SHAPE, jnp.bfloat16, "gfx942", False),
        (SHAPE, jnp.bfloat16, "", False),
        (SHAPE, jnp.float32, "9.0", False),
        ((8, 511, 4, 32), jnp.bfloat16, "9.0", False),
        ((8, 512, 4, 36), jnp.bfloat16, "9.0", False),
    ],
)
def test_what_cudnn_takes(shape, dtype, capability, fits):
    assert fits_cudnn(shape, jnp.dtype(dtype), capability) == fits


@pytest.mark.parametrize(
    ("platform", "shape", "dtype", "mask", "kernel"),
    [
        ("tpu", SHAPE, jnp.bfloat16, MASKS["packed"], tpu_attention),
        ("tpu", (8, 384, 4, 256), jnp.bfloat16, MASKS["packed"], tpu_attention),
        ("tpu", SHAPE, jnp.float32, MASKS["packed"], None),
        ("tpu", SHAPE, jnp.bfloat16, PAIRS, None),
        ("tpu", (8, 500, 4, 32), jnp.bfloat16, MASKS["packed"], None),
        ("tpu", (32, 128, 4, 32), jnp.bfloat16, MASKS["packed"], None),
        ("tpu", (8, 1024, 4, 32), jnp.bfloat16, MASKS["packed"], None),
        ("tpu", (8, 512, 4, 12), jnp.bfloat16, MASKS["packed"], None),
        ("gpu", SHAPE, jnp.bfloat16, MASKS["packed"], cudnn_attention),
        ("gpu", SHAPE, jnp.bfloat16, PAIRS, None),
        ("gpu", SHAPE, jnp.float32, MASKS["packed"], None),
        ("cpu", SHAPE, jnp.bfloat16, MASKS["packed"], cpu_attention),
        ("cpu", (8, 256, 4, 12), jnp.float32, MASKS["packed"], cpu_attention),
        ("cpu", SHAPE, jnp.float32, PAIRS, None),
        ("cpu", (8, 255, 4, 32), jnp.float32, MASKS["packed"], None),
    ],
)
def test_each_platform_has_its_kernel_for_some_arrays(platform, shape, dtype, mask, kernel, monkeypatch):
    device = SimpleNamespace(platform=platform, compute_capability="9.0")
    monkeypatch.setattr(fused_module, "target_device", lambda: device)
    assert fused_kernel(shape, jnp.dtype(dtype), mask) is kernel


@pytest.mark.skipif(not ON_GPU, reason="needs a GPU")
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("variant", ["mobilebert", "bert"])
def test_cudnn_gives_the_same_to_the_precision_of_bfloat16(variant, mask):
    cfg = VARIANTS[variant].replace(dtype="bfloat16", hidden_size=64, intra_bottleneck_size=64)
    plain = block_results(cfg.replace(attention_kernel="plain"), mask)
    for found, expected in zip(block_results(cfg, mask), plain, strict=True):
        assert np.isfinite(found).all() and relative_error(found, expected) < 2e-2


COMPILE = """
import jax, jax.numpy as jnp
from mobilebert_jax.models.block import Block
from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.mesh import MeshShape, make_mesh
from mobilebert_jax.parallel.rules import PRESETS
from mobilebert_jax.parallel.topologies import parse_topology, topology_devices
from mobilebert_jax.utils.placement import active

mesh = make_mesh(MeshShape(data=2, tensor=2), topology_devices(parse_topology("v5e:2x2")))
layout = Layout(mesh, PRESETS["tensor"], PRESETS["tensor"])
block = Block(ModelConfig.mobilebert(dtype="bfloat16"))
x = jax.ShapeDtypeStruct((4, 512, 512), jnp.float32, sharding=layout.batch)
mask = jax.ShapeDtypeStruct((4, 512), jnp.int32, sharding=layout.batch)
params = jax.eval_shape(block.init, jax.random.key(0), x, mask)

def gradients(params, x, mask):
    with active(layout):
        return jax.grad(lambda params: block.apply(params, x, mask).hidden.sum())(params)

text = jax.jit(gradients).lower(params, x, mask).compile().as_text()
print(text.count('custom_call_target="tpu_custom_call"'), "512,512]" in text.replace("[2,512,512]", ""))
"""


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_a_block_compiles_for_a_mesh_of_tpus_without_any_map_outside_the_kernels():
    # By itself: libtpu belongs to one process at a time, until that ends.
    process = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, timeout=240)
    if "in use by another process" in process.stderr:
        pytest.skip("libtpu is in use")
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["2", "False"]
