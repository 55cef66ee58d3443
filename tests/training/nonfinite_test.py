"""A run that leaves the finite numbers stops, says where that happened, and keeps its last good checkpoint."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilebert_jax.training import loop
from mobilebert_jax.training.checkpoints import Checkpoints
from mobilebert_jax.training.diagnosis import explain
from mobilebert_jax.training.phase import Cadence
from mobilebert_jax.training.stages import Plan
from mobilebert_jax.utils.errors import NonFiniteError
from mobilebert_jax.utils.trees import map_named
from tests.training.cases import (
    HEADS,
    STUDENT,
    TEACHER,
    assert_same_bits,
    batch,
    compiled_step,
    network,
    whole_stage,
)
from tests.training.phases import run, transfer_phase

SCALE = "encoder/layers/bottleneck_output/norm/scale"
FINE = {"hidden": np.ones(3), "masked_lm": np.float32(1.0)}
COUNTS = {"hidden": np.float32(8.0), "masked_lm": np.float32(4.0)}


@pytest.fixture(autouse=True)
def one_compilation(monkeypatch):
    monkeypatch.setattr(loop, "make_step", compiled_step)


def poisoned(params, leaf_name, value, index=0):
    """The parameters with `value` all over one layer of a stacked leaf, or in one row of any other."""
    return map_named(lambda name, leaf: leaf.at[index].set(value) if name == leaf_name else leaf, params)


def explained(student=None, terms=FINE, gradients=None, examples=None, counts=COUNTS):
    """The phrase for a step of teacher and student; without a student no network is looked into."""
    networks = {"teacher": (TEACHER, network(TEACHER, 1)), "student": (STUDENT, student)} if student else {}
    return explain(networks, batch() if examples is None else examples, terms, lambda: gradients, counts)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_stacked_parameter_is_named_with_its_layer(value):
    student = poisoned(network(STUDENT, 2), SCALE, value, index=1)
    assert explained(student) == f"parameter {SCALE} of layer 1 of the student is not finite"


def test_any_other_parameter_is_named():
    name = "masked_lm/output_bias"
    assert explained(poisoned(network(STUDENT, 2), name, np.nan)) == f"parameter {name} of the student is not finite"


def test_an_output_of_the_embeddings_is_named():
    out_of_vocabulary = batch() | {"input_ids": np.full_like(batch()["input_ids"], TEACHER.vocab_size)}
    found = explained(network(STUDENT, 2), examples=out_of_vocabulary)
    assert found == "the output of the embeddings of the teacher is not finite"


def test_the_first_layer_whose_output_overflows_is_named():
    student = poisoned(network(STUDENT, 2), SCALE, 3e38, index=1)
    assert explained(student) == "the output of layer 1 of the student is not finite"


def test_a_loss_term_is_named_with_its_layer():
    layers = np.array([1.0, 2.0, np.nan])
    assert explained(terms=FINE | {"hidden": layers}) == "loss term hidden is not finite in layer 2"
    assert explained(terms=FINE | {"masked_lm": np.float32(np.inf)}) == "loss term masked_lm is not finite"


def test_the_terms_that_a_place_spoilt_are_named_with_it():
    student = poisoned(network(STUDENT, 2), SCALE, np.nan, index=1)
    place = f"parameter {SCALE} of layer 1 of the student is not finite"
    terms = FINE | {"hidden": np.array([1.0, np.nan, np.nan])}
    assert explained(student, terms=terms) == f"{place} (loss terms: hidden)"


def test_a_count_is_named():
    expected = "the count of loss term masked_lm is not finite: the batch's weights or labels are at fault"
    assert explained(counts=COUNTS | {"masked_lm": np.float32(np.nan)}) == expected


def test_a_gradient_is_named_with_its_layer():
    gradients = poisoned(network(STUDENT, 2), SCALE, np.nan, index=2)
    assert explained(gradients=gradients) == f"the gradient of {SCALE} of layer 2 is not finite"


def test_what_is_left_is_the_norm():
    assert explained(gradients=network(STUDENT, 2)) == "the gradient norm overflows float32"


def test_a_poisoned_teacher_stops_the_first_step(tmp_path):
    teacher = poisoned(network(TEACHER, 1), SCALE, np.nan, index=0)
    networks = {"teacher": (TEACHER, teacher), "student": (STUDENT, None)}
    with pytest.raises(NonFiniteError) as caught:
        run(transfer_phase(teacher=teacher, networks=networks), tmp_path)
    place = f"parameter {SCALE} of layer 0 of the teacher is not finite (loss terms: "
    assert str(caught.value).startswith(f"transfer step 0 (stage block 0): {place}hidden, ")
    assert str(caught.value).endswith("); no checkpoint was written yet")


def test_a_poisoned_block_stops_the_stage_that_first_walks_through_it(tmp_path):
    phase = transfer_phase(init=lambda: poisoned(network(STUDENT, 2), SCALE, np.nan, index=1))
    with pytest.raises(NonFiniteError) as caught:
        run(phase, tmp_path)
    place = f"parameter {SCALE} of layer 1 of the student is not finite (loss terms: "
    assert str(caught.value).startswith(f"transfer step 3 (stage block 1): {place}hidden, ")
    assert str(caught.value).endswith("); the checkpoint of step 3 is kept")


def test_a_bad_batch_stops_at_its_step_and_the_run_continues_from_the_checkpoint_before(tmp_path):
    def spoil(step, examples):
        return examples | {"masked_ids": examples["masked_ids"] + TEACHER.vocab_size} if step == 10 else examples

    phase = transfer_phase(cadence=Cadence(log=4, evaluate=0, save=0, keep=2))
    with pytest.raises(NonFiniteError) as caught:
        run(phase, tmp_path / "spoilt", change=spoil)
    place = "loss term masked_lm is not finite; the checkpoint of step 9 is kept"
    assert str(caught.value) == f"transfer step 10 (stage everything): {place}"
    checkpoints = Checkpoints(tmp_path / "spoilt" / "checkpoints", keep=2)
    assert checkpoints.latest_step() == 9
    checkpoints.close()
    assert_same_bits(run(phase, tmp_path / "spoilt"), run(phase, tmp_path / "whole"))


def test_a_bad_batch_in_a_frozen_stage_is_found_in_the_network_that_saw_it_first(tmp_path):
    def spoil(step, examples):
        return examples | {"input_ids": examples["input_ids"] + TEACHER.vocab_size} if step == 4 else examples

    with pytest.raises(NonFiniteError, match=r"step 4 \(stage block 1\): the output of the embeddings of the teacher"):
        run(transfer_phase(), tmp_path, change=spoil)


@dataclasses.dataclass(frozen=True, eq=False)
class Cone:
    """The distance to the batch's ids: finite everywhere, without a gradient at its tip."""

    name: str = "cone"
    independent: bool = False
    updates: int = 1

    def cut(self, params, block):
        return params, {}

    def join(self, trained, rest, block):
        return trained

    def counts(self, batch):
        return {"masked_lm": jnp.float32(1.0)}

    def gradients(self, trained, rest, teacher, batch, counts, control, rng):
        def loss(tree):
            distance = jnp.sqrt(jnp.square(tree["tip"] - batch["input_ids"].sum()).sum())
            return distance, {"masked_lm": distance}

        return jax.grad(loss, has_aux=True)(trained)

    def multipliers(self, trained, control, factor):
        return None


def test_a_gradient_that_is_not_finite_stops_although_the_loss_is(tmp_path):
    phase = transfer_phase(
        plan=Plan((whole_stage(HEADS, weights=(), steps=5),)),
        programs=(Cone(),),
        init=lambda: {"tip": jnp.zeros(2)},
        networks={},
        evaluate=None,
        learning_rate=lambda step: jnp.float32(0.0),
    )

    def spoil(step, examples):
        return examples | {"input_ids": 0 * examples["input_ids"]} if step == 2 else examples

    expected = "step 2 .*: the gradient of tip is not finite; the checkpoint of step 2 is kept"
    with pytest.raises(NonFiniteError, match=expected):
        run(phase, tmp_path, change=spoil)
