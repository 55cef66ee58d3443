"""Where arrays lie under a layout, on meshes of devices that need not be there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mobilebert_jax.models.config import ModelConfig
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params, logical_axes
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.mesh import MeshShape, make_mesh
from mobilebert_jax.parallel.rules import AXES, PRESETS
from mobilebert_jax.utils.errors import UserError
from mobilebert_jax.utils.placement import (
    TEACHER,
    TRAINED,
    active,
    constrain,
    gathered,
    of_teacher,
    product,
    table_product,
)
from mobilebert_jax.utils.trees import is_stacked, named_leaves


def abstract_layout(preset, teacher=None, below=16_384, **sizes):
    """A layout over devices that are only counted."""
    shape = MeshShape(**{"data": 1, **sizes})
    mesh = jax.sharding.AbstractMesh(shape.sizes, AXES)
    return Layout(mesh, PRESETS[preset], PRESETS[teacher or preset], below)


@pytest.fixture(scope="module")
def large():
    """Logical axes and shapes of the paper's teacher."""
    model = build_model(ModelConfig.ib_bert_large(), "pretraining")
    return logical_axes(model), abstract_params(model)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("sizes", [{"fsdp": 16}, {"fsdp": 4, "tensor": 4}, {"replica": 2, "data": 8, "tensor": 2}])
def test_small_parameters_stay_whole_layers_are_never_split_and_parts_are_equal(large, preset, sizes):
    layout = abstract_layout(preset, **sizes)
    shapes = named_leaves(large[1])
    for name, sharding in named_leaves(layout.shardings(*large)).items():
        shape = shapes[name].shape
        spec = (*sharding.spec, *[None] * (len(shape) - len(sharding.spec)))
        if is_stacked(name):
            assert spec[0] is None, name
            shape, spec = shape[1:], spec[1:]
        if np.prod(shape) < layout.replicate_below:
            assert not any(spec), name
        for size, axis in zip(shape, spec, strict=True):
            assert axis is None or size % layout.mesh.shape[axis] == 0, name


def test_fsdp_leaves_a_sixteenth_of_the_teacher_on_each_of_sixteen_devices(large):
    layout = abstract_layout("fsdp", fsdp=16)
    shardings, shapes = named_leaves(layout.shardings(*large)), named_leaves(large[1])
    own = sum(np.prod(shardings[name].shard_shape(leaf.shape)) for name, leaf in shapes.items())
    assert own < sum(np.prod(leaf.shape) for leaf in shapes.values()) / 16 * 1.05


def test_a_size_that_the_mesh_does_not_divide_stays_whole():
    layout = abstract_layout("tensor", below=0, tensor=4)
    sizes = {"odd": jax.ShapeDtypeStruct((30_522, 8), jnp.float32), "even": jax.ShapeDtypeStruct((64, 8), jnp.float32)}
    found = layout.shardings({"odd": ("vocab", "trigram"), "even": ("vocab", "trigram")}, sizes)
    assert found["odd"].spec == P(None, None)
    assert found["even"].spec == P("tensor", None)


def test_teacher_and_student_may_lie_differently():
    layout = abstract_layout("dp", teacher="fsdp", below=0, fsdp=2)
    leaf, axes = jax.ShapeDtypeStruct((3, 8, 8), jnp.float32), ("layers", "embed", "inner")
    assert layout.shardings(axes, leaf, TRAINED).spec == P(None, None, None)
    assert layout.shardings(axes, leaf, TEACHER).spec == P(None, "fsdp", None)


@pytest.mark.parametrize(
    ("batch", "accumulation", "fits"), [(32, 1, True), (32, 2, True), (32, 4, False), (12, 1, False)]
)
def test_a_batch_must_split_evenly_microbatch_by_microbatch(batch, accumulation, fits):
    layout = abstract_layout("dp", replica=2, data=4, fsdp=2, tensor=3)
    assert layout.batch_shards == 16
    if fits:
        return layout.check_batch("teacher", batch, accumulation)
    with pytest.raises(UserError, match=rf"^teacher.batch_size={batch}: cannot be split.* over 16 devices"):
        layout.check_batch("teacher", batch, accumulation)


def test_an_axis_name_that_no_model_has_is_refused_while_tracing():
    layout = Layout(make_mesh(MeshShape()), PRESETS["dp"], PRESETS["dp"])
    with active(layout), pytest.raises(UserError, match="logical axis 'width': no such name"):
        jax.eval_shape(lambda x: constrain(x, ("batch", "width")), jnp.ones((2, 2)))
    with active(layout), pytest.raises(ValueError, match="1 axis names"):
        jax.eval_shape(lambda x: constrain(x, ("batch",)), jnp.ones((2, 2)))


def test_without_a_layout_nothing_is_added_to_a_program():
    def plain(x, w):
        return x @ w

    def named(x, w):
        with of_teacher():
            return constrain(product(x, gathered(w, ("embed", "inner")), ("embed", "inner")), ("batch", "inner"))

    x, w = jnp.ones((4, 3)), jnp.ones((3, 2))
    assert str(jax.make_jaxpr(named)(x, w)) == str(jax.make_jaxpr(plain)(x, w))


def test_the_gradient_of_a_bfloat16_product_is_summed_in_float32():
    layout = Layout(make_mesh(MeshShape()), PRESETS["dp"], PRESETS["dp"])
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.standard_normal((512, 6)), jnp.bfloat16)
    weights = jnp.asarray(rng.standard_normal((512, 5)), jnp.bfloat16)
    kernel = jnp.asarray(rng.standard_normal((6, 5)), jnp.float32)
    exact = np.float64(rows).T @ np.float64(weights)

    def error(layout):
        def loss(kernel):
            with active(layout):
                return jnp.sum((product(rows, kernel, ("embed", "inner")) * weights).astype(jnp.float32))

        found = jax.jit(jax.grad(loss))(kernel)
        assert found.dtype == jnp.float32
        return np.linalg.norm(found - exact) / np.linalg.norm(exact)

    assert error(layout) < 1e-6
    assert error(None) > 1e-4  # JAX's own rule rounds the sums to bfloat16


def test_the_gradients_of_tied_tables_are_summed_in_float32_each_with_its_own_columns():
    layout = Layout(make_mesh(MeshShape()), PRESETS["dp"], PRESETS["dp"])
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((64, 4, 5)), jnp.bfloat16)
    weights = jnp.asarray(rng.standard_normal((64, 4, 7)), jnp.float32)
    tables = [jnp.asarray(rng.standard_normal((7, width)), jnp.float32) for width in (2, 3)]
    axes = [("vocab", "trigram"), ("vocab", "transform")]

    def logits(layout, x, tables):
        with active(layout):
            return table_product(x, tables, axes)

    placed, plain = (
        jax.jit(jax.value_and_grad(lambda x, tables, to=to: jnp.sum(logits(to, x, tables) * weights), argnums=(0, 1)))
        for to in (layout, None)
    )
    (value, (to_x, to_tables)), (expected, (plain_x, _)) = placed(x, tables), plain(x, tables)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(np.float32(to_x), np.float32(plain_x), rtol=0.02, atol=0.02)
    exact = np.einsum("bpv,bph->vh", np.float64(weights), np.float64(x))
    for found, own in zip(to_tables, np.split(exact, [2], axis=1), strict=True):
        assert np.linalg.norm(found - own) < 1e-6 * np.linalg.norm(own)


def test_batches_and_values_reach_the_devices_unchanged():
    layout = Layout(make_mesh(MeshShape()), PRESETS["dp"], PRESETS["dp"])
    batch = {"input_ids": np.arange(12).reshape(6, 2), "masked_weights": np.ones(6, np.float32)}
    assert layout.rows(6) == slice(0, 6)
    for name, found in layout.put_batch(batch, 6).items():
        np.testing.assert_array_equal(found, batch[name])
    assert layout.put_whole({"step": np.int32(3)})["step"] == 3
    assert layout.put_flag(True).tolist() == [True] * layout.mesh.size
