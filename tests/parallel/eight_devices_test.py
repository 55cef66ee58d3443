"""Eight devices give what one gives, and move between them what they must and nothing else."""

import json
import math
import os
import subprocess
import sys

import jax
import pytest

from mobilebert_jax.models.heads import MobileBertForPreTraining
from mobilebert_jax.models.initialise import abstract_params
from mobilebert_jax.utils.trees import is_stacked, named_leaves
from tests.parallel.collectives import Collective, gathered_elements
from tests.parallel.eight_devices import MESHES, PROGRAMS
from tests.recipes.tiny_run import PROJECT
from tests.training.cases import LENGTH, STUDENT, TEACHER

CASES = [(program, preset) for program in PROGRAMS for preset in MESHES]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What `tests.parallel.eight_devices` writes."""
    path = tmp_path_factory.mktemp("eight") / "report.json"
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    subprocess.run(
        [sys.executable, "-m", "tests.parallel.eight_devices", path], cwd=PROJECT, env=environment, check=True
    )
    return json.loads(path.read_text())


def moved(report, program, preset):
    """The collectives of one compiled program."""
    return [
        Collective(each["kind"], tuple((dtype, tuple(sizes)) for dtype, sizes in each["arrays"]), each["body"])
        for each in report[program][preset]["collectives"]
    ]


def layer_shapes(cfg):
    """Shapes without axes of one, of every parameter of a network, one layer's of those that are stacked."""
    params = named_leaves(abstract_params(MobileBertForPreTraining(cfg)))
    shapes = [leaf.shape[1:] if is_stacked(name) else leaf.shape for name, leaf in params.items()]
    return [tuple(size for size in shape if size > 1) for shape in shapes]


def block_shapes(cfg):
    params = abstract_params(MobileBertForPreTraining(cfg))["encoder"]["layers"]
    return [leaf.shape[1:] for leaf in jax.tree.leaves(params)]


def elements(shapes):
    return sum(map(math.prod, shapes))


@pytest.mark.parametrize(("program", "preset"), CASES)
def test_losses_and_gradients_are_those_of_one_device(report, program, preset):
    assert report[program][preset]["error"] < 1e-5


@pytest.mark.parametrize("program", PROGRAMS)
def test_data_parallelism_moves_nothing_but_sums(report, program):
    assert {each.kind for each in moved(report, program, "dp")} == {"all-reduce"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_sharded_data_parallelism_gathers_parameters_and_no_activation(report, program):
    found = moved(report, program, "fsdp")
    assert not [each for each in found if each.kind == "all-to-all"]
    gathered = {sizes for each in found if each.kind == "all-gather" for _, sizes in each.arrays}
    assert gathered
    assert gathered <= {*layer_shapes(TEACHER), *layer_shapes(STUDENT)}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_iteration_gathers_no_more_than_one_layer_of_each_network(report, program):
    teacher, student = (elements(block_shapes(cfg)) for cfg in (TEACHER, STUDENT))
    # Only where both are walked together does one loop hold a block of each.
    most = teacher + student if program in ("everything", "local") else max(teacher, student)
    bodies = gathered_elements(moved(report, program, "fsdp"))
    assert bodies
    assert max(bodies.values()) <= most


@pytest.mark.parametrize("program", PROGRAMS)
def test_where_heads_are_split_no_attention_map_is_moved(report, program):
    moves = [sizes for each in moved(report, program, "tensor") for _, sizes in each.arrays]
    assert moves and not [sizes for sizes in moves if sizes[-1:] == (LENGTH,)]


def test_the_cheap_path_adds_up_the_active_blocks_gradients_alone(report):
    sums = [each for each in moved(report, "block", "dp") if each.kind == "all-reduce"]
    arrays = [sizes for each in sums for dtype, sizes in each.arrays if dtype == "f32" and sizes]
    assert sorted(arrays) == sorted(block_shapes(STUDENT))
    assert not any(each.body for each in sums)


def test_the_local_walk_adds_up_each_block_s_gradients_once(report):
    sums = [each for each in moved(report, "local", "dp") if each.body]
    arrays = [sizes for each in sums for dtype, sizes in each.arrays if dtype == "f32" and sizes]
    assert sorted(arrays) == sorted(block_shapes(STUDENT))
    outside = [sizes for each in moved(report, "local", "dp") if not each.body for _, sizes in each.arrays]
    assert not [sizes for sizes in outside if math.prod(sizes) > STUDENT.num_hidden_layers]


def test_the_cheap_path_adds_up_parts_of_it_where_parameters_are_split(report):
    sums = [each for each in moved(report, "block", "fsdp") if each.kind in ("all-reduce", "reduce-scatter")]
    assert not any(each.body for each in sums)
    arrays = {sizes for each in sums for _, sizes in each.arrays if sizes}
    whole = {tuple(shape) for shape in block_shapes(STUDENT)}
    parts = {(*shape[:axis], shape[axis] // 4, *shape[axis + 1 :]) for shape in whole for axis in range(len(shape))}
    assert arrays <= whole | parts
