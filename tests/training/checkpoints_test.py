import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.optim.optimizer import OptimizerConfig, make_optimizer
from mobilebert_jax.training.checkpoint_reader import StoredCheckpoint
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.utils.errors import UserError
from tests.training.cases import assert_same_bits


def awkward_params():
    """Values that a careless round trip would change, in every type a state holds."""
    return {
        "layers": {"kernel": jnp.float32([[0.1, -0.0], [np.nan, -np.inf], [1e-45, 3e38]])},
        "norm": {"scale": jnp.bfloat16([1.0, 1 / 3, -0.0])},
        "count": jnp.int32(2**31 - 1),
        "healthy": jnp.bool_(False),
    }


def slots_of(params):
    """Slots with something in them."""
    optimizer = make_optimizer(OptimizerConfig(bias_correction=True))
    return optimizer.update(params, optimizer.init(params), params, learning_rate=0.1)[1]


@pytest.fixture
def checkpoints(tmp_path):
    opened = Checkpoints(tmp_path / "checkpoints", keep=2)
    yield opened
    opened.close()


def abstract(tree):
    return jax.eval_shape(lambda: tree)


def test_there_is_no_latest_at_first(checkpoints):
    assert checkpoints.latest_step() is None


def test_everything_comes_back_bit_for_bit_with_its_meta(checkpoints, tmp_path):
    params = awkward_params()
    slots = slots_of({"layers": {"kernel": jnp.ones((3, 2))}})
    meta = {"stage": 1, "step": 7, "teacher": {"path": "a/b", "fingerprint": "00ff"}}
    checkpoints.save(7, params, slots, meta)
    checkpoints.close()
    again = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert (again.latest_step(), again.meta(7)) == (7, meta)
    restored = again.restore(7, abstract(params), abstract(slots))
    again.close()
    assert jax.tree.structure(restored) == jax.tree.structure((params, slots))
    assert_same_bits(restored, (params, slots))


def test_arrays_without_elements_come_back_as_such(checkpoints):
    """Those of the blocks of a model that has none."""
    params = {"layers": {"kernel": jnp.zeros((0, 3, 2)), "bias": jnp.zeros((0, 2), jnp.bfloat16)}, "head": jnp.ones(2)}
    checkpoints.save(1, params, slots_of(params), {})
    checkpoints.wait()
    restored = checkpoints.restore(1, abstract(params), abstract(slots_of(params)))
    assert_same_bits(restored, (params, slots_of(params)))
    assert restored[0]["layers"]["kernel"].shape == (0, 3, 2)


def test_a_step_that_donates_right_after_saving_does_not_reach_the_checkpoint(checkpoints):
    donating = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0 - 1, tree), donate_argnums=0)
    params = {"kernel": jnp.arange(200_000, dtype=jnp.float32)}
    expected = np.array(params["kernel"])
    checkpoints.save(1, params, {}, {})
    for _ in range(3):
        params = donating(params)
    jax.block_until_ready(params)
    checkpoints.wait()
    restored, _ = checkpoints.restore(1, abstract(params), {})
    np.testing.assert_array_equal(restored["kernel"], expected)


def test_what_was_restored_may_be_donated(checkpoints):
    params = {"kernel": jnp.arange(64, dtype=jnp.float32)}
    checkpoints.save(1, params, {}, {})
    checkpoints.wait()
    restored, _ = checkpoints.restore(1, abstract(params), {})
    doubled = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 2, tree), donate_argnums=0)(restored)
    assert restored["kernel"].is_deleted()
    np.testing.assert_array_equal(doubled["kernel"], 2 * params["kernel"])


def test_an_address_that_no_checkpoint_can_have_is_refused():
    with pytest.raises(UserError, match=r"^memory://run/checkpoints: checkpoints can be written in a folder or at gs"):
        Checkpoints("memory://run/checkpoints", keep=2)


def test_the_newest_few_are_kept(checkpoints, tmp_path):
    for step in (1, 2, 5, 9):
        checkpoints.save(step, {"kernel": jnp.float32([step])}, {}, {"step": step})
    checkpoints.wait()
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()}
    assert kept == {"5", "9"}
    assert (checkpoints.latest_step(), checkpoints.meta(9)) == (9, {"step": 9})
    assert checkpoints.restore(5, abstract({"kernel": jnp.float32([0])}), {})[0]["kernel"] == 5


def test_a_step_that_is_saved_already_is_left_as_it_is(checkpoints):
    checkpoints.save(3, {"kernel": jnp.float32([1.0])}, {}, {"step": 3})
    checkpoints.save(3, {"kernel": jnp.float32([2.0])}, {}, {"step": 3})
    checkpoints.wait()
    assert checkpoints.restore(3, abstract({"kernel": jnp.float32([0])}), {})[0]["kernel"] == 1


def test_parameters_alone_are_read_without_the_slots(checkpoints, tmp_path):
    params = awkward_params()
    checkpoints.save(7, params, slots_of({"layers": {"kernel": jnp.ones((3, 2))}}), {"step": 7})
    checkpoints.wait()
    stored = StoredCheckpoint.open(tmp_path / "checkpoints" / "7")
    on_host = stored.load_params()
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(on_host))
    assert_same_bits(on_host, params)
    there = jax.sharding.SingleDeviceSharding(jax.devices()[-1])
    placed = stored.load_params(jax.tree.map(lambda _: there, params))
    assert {leaf.sharding for leaf in jax.tree.leaves(placed)} == {there}
    assert_same_bits(placed, params)


def test_what_is_read_into_shardings_is_laid_out_so_and_bit_for_bit_the_same(checkpoints):
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("fsdp",))
    params = awkward_params()
    slots = slots_of({"layers": {"kernel": jnp.ones((3, 2))}})
    checkpoints.save(7, params, slots, {"step": 7})
    checkpoints.wait()
    to = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    target = jax.tree.map(lambda leaf: leaf.update(sharding=to), (abstract(params), abstract(slots)))
    restored = checkpoints.restore(7, *target)
    assert all(leaf.sharding == to for leaf in jax.tree.leaves(restored))
    assert_same_bits(restored, (params, slots))
