"""Abstract steps: their batches against real ones, their operations against unrolled programs and our own count."""

import jax
import numpy as np
import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.initialise import abstract_params, init_params
from mobilebert_jax.parallel.hlo_costs import total, work_of
from mobilebert_jax.parallel.hlo_text import parse_module
from mobilebert_jax.parallel.layout import Layout
from mobilebert_jax.parallel.mesh import MeshShape, make_mesh
from mobilebert_jax.parallel.rules import preset
from mobilebert_jax.recipes.data import prepare, pretraining_examples
from mobilebert_jax.recipes.finetune import finetune_phase
from mobilebert_jax.recipes.plan_steps import abstract_batch, is_teachers, phase_steps
from mobilebert_jax.recipes.questions import load_question_sets
from mobilebert_jax.recipes.settings import PHASES, model_config
from mobilebert_jax.recipes.work import recipe_work
from mobilebert_jax.training import transfer
from mobilebert_jax.training.stopping import Stopper
from mobilebert_jax.training.walks import run_block, take
from mobilebert_jax.utils.types import Batch

VOCABULARY, BLOCKS = 512, 3


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def small_config(**changes):
    """The paper's recipe with 3 blocks and a teacher of 6, wide enough that products are most of the work.

    No dropout: its random bits come from a loop of their own, of which XLA counts one run.
    """
    config = load_config("mobilebert", ["data.corpus=corpus.txt", "finetune.questions=questions.json"])
    config.unlock()
    for which, inner in (("teacher", 128), ("student", 64)):
        config.model[which].update({"num_hidden_layers": BLOCKS, "hidden_size": 128, "embedding_size": 64})
        config.model[which].update({"intra_bottleneck_size": inner, "intermediate_size": 2 * inner})
        config.model[which].update({"dtype": "float32", "scan_unroll": 1})
        config.model[which].update({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    config.model.teacher.num_hidden_layers = 2 * BLOCKS
    for name in PHASES:
        config[name].update({"batch_size": 4, "sequence_length": 32, "steps": 30})
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture
def small():
    return small_config()


def networks(config):
    return [model_config(config, which, VOCABULARY) for which in ("teacher", "student")]


def steps_of(config, name):
    (steps,) = phase_steps(config, (name,), *networks(config))
    return steps


def one_device():
    return Layout(make_mesh(MeshShape(), jax.devices()[:1]), preset("dp"), preset("dp"))


def compiled(config, name, stage=0):
    steps = steps_of(config, name)
    return steps.lower(steps.programs[stage], one_device()).compile(QUICK)


class Counts:
    """Operations of stages as the plan counts them; a program is compiled once."""

    def __init__(self):
        self.work = {}

    def __call__(self, name, stage=0, **changes):
        """Costs of a step of a stage."""
        steps = steps_of(small_config(**changes), name)
        key = (name, steps.programs[stage].name, *changes.items())
        if key not in self.work:
            self.work[key] = work_of(parse_module(compiled(steps.config, name, stage).as_text()))
        return total(self.work[key], steps.trips(stage), 1.0, 1.0)


@pytest.fixture(scope="module")
def counts():
    return Counts()


def test_operations_of_a_scan_are_those_of_its_blocks_one_by_one(counts, small):
    for which in ("teacher", "student"):
        small.model[which].scan_unroll = 2 * BLOCKS
    unrolled = compiled(small, "teacher").cost_analysis()["flops"]
    assert counts("teacher").flops == pytest.approx(unrolled, rel=0.02)


def test_operations_of_a_transfer_stage_are_those_of_its_walks_unrolled(counts, small, monkeypatch):
    top = BLOCKS - 1
    walked = counts("transfer", top).flops

    def unrolled(cfg, stack, hidden, mask, start, stop):
        for index in range(top if cfg.num_hidden_layers == BLOCKS else 2 * top + 1):
            hidden = run_block(cfg, take(stack, index), hidden, mask).hidden
        return hidden

    monkeypatch.setattr(transfer, "walk", unrolled)
    one_by_one = compiled(small, "transfer", top).cost_analysis()["flops"]
    assert walked == pytest.approx(one_by_one, rel=0.02)


def test_every_block_further_up_costs_the_same_more(counts):
    products = [counts("transfer", stage).matrix_flops for stage in range(BLOCKS)]
    assert products[2] - products[1] == products[1] - products[0] > 0


def test_soft_stages_count_the_way_back_too(counts):
    soft = [counts("transfer", stage, **{"transfer.lower_rate": 0.3}).matrix_flops for stage in (1, 2)]
    hard = [counts("transfer", stage).matrix_flops for stage in (1, 2)]
    # So much more for each block below the one that learns.
    each = (soft[1] - hard[1]) - (soft[0] - hard[0])
    assert each == pytest.approx(soft[0] - hard[0], rel=0.1) and each > 0


@pytest.mark.parametrize("name", PHASES)
def test_products_agree_with_the_count_from_the_models_sizes(counts, small, name):
    own = recipe_work(small, PHASES, *networks(small))[name]
    for stage in (0, len(own) - 1):
        assert counts(name, stage).matrix_flops == pytest.approx(2 * own[stage][1], rel=0.15)


def test_joint_transfer_walks_the_teacher_s_blocks_between(small):
    small.transfer.strategy = "joint"
    small.model.student.num_hidden_layers = 2
    small.model.teacher.num_hidden_layers = 4
    steps = steps_of(small, "transfer")
    assert steps.programs[0].transfer.pair.layer_map == (1, 3)
    # Two of the teacher's blocks lie between those that are compared, in two runs of the scan.
    assert steps.trips(0)("jit(step)/teacher/while") == 1.0


def test_trips_follow_the_layer_map(small):
    trips = steps_of(small, "transfer").trips(2)
    assert trips("jit(step)/teacher/while") == 5 and trips("jit(step)/while") == 2


@pytest.mark.parametrize(
    ("name", "teachers"),
    [("jit(step)/teacher/while", True), ("jit(step)/jvp(teacher)/while", True), ("jit(step)/encoder/while", False)],
)
def test_a_loop_is_the_teacher_s_by_its_name(name, teachers):
    assert is_teachers(name) == teachers


@pytest.mark.parametrize("name", ["transfer", "finetune"])
def test_no_parameter_is_made_and_the_state_is_given_away(small, name):
    steps = steps_of(small, name)
    arguments = steps.lower(steps.programs[0], one_device()).args_info[0]
    assert all(leaf.donated for leaf in jax.tree.leaves(arguments[0]))
    assert not any(leaf.donated for leaf in jax.tree.leaves(arguments[1:]))
    trained = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(arguments[0].trained))
    whole = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(abstract_params(steps.model)))
    assert trained == whole if name != "transfer" else trained < whole / BLOCKS


def shapes(batch: Batch):
    return {name: (leaf.shape, np.dtype(leaf.dtype).name) for name, leaf in batch.items()}


def test_an_abstract_batch_looks_like_a_real_one(tiny_run, tmp_path):
    config = load_config("demo", [word.removeprefix("--config.") for word in tiny_run.words])
    data = prepare(config, tmp_path, Stopper())
    real = pretraining_examples(config, config.teacher, data.train, data.tokenizer, 0).batch(0)
    assert shapes(abstract_batch(config.teacher)) == shapes(real)
    config.unlock()
    config.data.packing = True
    packed = pretraining_examples(config, config.teacher, data.train, data.tokenizer, 0).batch(0)
    assert shapes(abstract_batch(config.teacher, packing=True)) == shapes(packed)
    questions = load_question_sets(config.finetune, "squad2").train
    cfg = model_config(config, "student", data.tokenizer.vocab_size)
    encoder = init_params(build_model(cfg, "pretraining"), 0)["encoder"]
    phase = finetune_phase(config, cfg, encoder, data.tokenizer, questions)
    assert shapes(abstract_batch(config.finetune)) == shapes(next(phase.batches(0, 1)).batch)
