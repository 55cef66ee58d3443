"""`mobilebert plan`: with CPU devices in the place of a topology's, and refusals."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert_jax.cli.flags import load_config
from mobilebert_jax.cli.main import main
from mobilebert_jax.parallel.chips import CHIPS, GIB
from mobilebert_jax.recipes import plan
from mobilebert_jax.recipes.plan import explain, plan_recipe, plannable, planned_phases
from mobilebert_jax.recipes.plan_report import Memory, StepCost, mean_cost
from mobilebert_jax.recipes.plan_steps import PhaseSteps
from mobilebert_jax.utils.errors import UserError
from tests.recipes.tiny_run import XLA_FLAGS

ROOT = Path(__file__).parents[2]
BATCH = {"teacher": 16, "transfer": 8, "distill": 8, "finetune": 8}


def planned(tiny_run, *words, program="tests.recipes.plan_on_cpu"):
    """The finished process of `mobilebert plan` on the tiny config."""
    environment = os.environ | {"XLA_FLAGS": XLA_FLAGS, "JAX_PLATFORMS": "cpu"}
    sizes = [f"--config.{name}.batch_size={size}" for name, size in BATCH.items()]
    command = [sys.executable, "-m", program, "plan", "--config=demo", *tiny_run.words, *sizes, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def report(tiny_run):
    """The JSON of two phases on 8 devices, batches split over them."""
    process = planned(tiny_run, "--topology=v5e:2x4", "--phases=transfer,teacher", "--json")
    assert process.returncode == 0, process.stderr
    (line,) = process.stdout.splitlines()
    return json.loads(line)


def test_every_phase_has_its_row_in_the_recipe_s_order(report):
    assert [row["phase"] for row in report["phases"]] == ["teacher", "transfer"]
    assert [row["batch_size"] for row in report["phases"]] == [16, 8]
    assert (report["chips"], report["hosts"], report["mesh"]["data"], report["preset"]) == (8, 2, 8, "dp")


def test_a_phase_s_figures_belong_together(report):
    chip = CHIPS["v5e"]
    for row in report["phases"]:
        seconds, memory = row["seconds"], row["memory"]
        assert seconds["compute"] == pytest.approx(row["matrix_flops"] / chip.flops)
        assert seconds["memory"] == pytest.approx(row["bytes"] / chip.memory_rate)
        assert seconds["step"] >= max(seconds[name] for name in ("compute", "memory", "ici", "dcn"))
        assert row["days"] == pytest.approx(seconds["step"] * row["steps"] / 86400)
        assert row["examples_per_second_per_host"] == pytest.approx(row["batch_size"] / seconds["step"] / 2)
        assert memory["needed"] == sum(memory[name] for name in ("arguments", "results", "temporaries", "code", "held"))
        assert 0 < row["matrix_flops"] < row["flops"]
    assert report["days"] == pytest.approx(sum(row["days"] for row in report["phases"]))
    assert report["chip_hours"] == pytest.approx(report["days"] * 24 * 8)


def test_plain_data_parallelism_sums_gradients_in_float32_and_nothing_else(report):
    rows = {row["phase"]: row for row in report["phases"]}
    for row in rows.values():
        assert list(row["collective_bytes"]) == ["data"] and list(row["collective_bytes"]["data"]) == ["all-reduce"]
    # Arguments are parameters and two slots for each; gradients are as large as parameters, and the word table has two:
    # of the embeddings and of the head.
    parameters = rows["teacher"]["memory"]["arguments"] / 3
    assert parameters < rows["teacher"]["collective_bytes"]["data"]["all-reduce"] < 1.1 * parameters
    assert rows["teacher"]["memory"]["held"] == pytest.approx(parameters, rel=0.02)
    assert rows["transfer"]["memory"]["held"] == 0
    # A transfer stage sums one block's gradients.
    assert rows["transfer"]["collective_bytes"]["data"]["all-reduce"] < parameters / 3


def test_every_way_of_transfer_is_priced_for_as_many_steps_a_block(report):
    found, row = report["transfer_ways"], report["phases"][1]
    ways = {each["way"]: each for each in found["rows"]}
    assert found["steps_a_block"] == 6 and list(ways) == ["progressive", "soft", "joint", "local", "local_4"]
    assert [each["steps"] for each in ways.values()] == [12, 12, 6, 6, 1]
    assert ways["progressive"]["chip_hours"] == pytest.approx(row["days"] * 24 * 8)
    assert ways["progressive"]["chip_hours"] < ways["soft"]["chip_hours"]
    assert ways["local"]["seconds"] < ways["local_4"]["seconds"] < 4 * ways["local"]["seconds"]
    assert ways["local"]["seconds"] < ways["joint"]["seconds"] and ways["local"]["memory"] < ways["joint"]["memory"]
    assert all(
        each["chip_hours"] == pytest.approx(each["seconds"] * each["steps"] / 3600 * 8) for each in ways.values()
    )


def test_transfer_is_told_block_by_block_and_as_the_mean(report):
    row = report["phases"][1]
    stages = row["stages"]
    assert [stage["stage"] for stage in stages] == ["block 0", "block 1"]
    assert stages[1]["flops"] > stages[0]["flops"]
    assert row["flops"] == pytest.approx(sum(stage["flops"] * stage["steps"] for stage in stages) / row["steps"])


def test_tables_and_a_sharded_preset(tiny_run):
    words = ("--config.mesh.preset=fsdp", "--config.mesh.fsdp=4", "--config.mesh.replicate_below=0")
    process = planned(tiny_run, "--topology=v5e:2x4", "--phases=finetune", *words)
    assert process.returncode == 0, process.stderr
    assert process.stderr.splitlines()[-1] == "compiling finetune (alone) for v5e:2x4"
    assert "v5e:2x4: 8 chips, 2 hosts; mesh: data 2, fsdp 4; preset fsdp, teacher fsdp" in process.stdout
    for word in ("memory of a device, GiB", "all-gather over fsdp", "bound by", "chip-hours", "finetune 8x32"):
        assert word in process.stdout
    assert "together" in process.stdout.splitlines()[-1]


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_with_libtpu_for_real(tiny_run):
    process = planned(tiny_run, "--topology=v5e:2x2", "--phases=transfer", "--json", program="mobilebert_jax")
    if "in use by another process" in process.stderr:
        pytest.skip("libtpu is in use")
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    (row,) = found["phases"]
    assert found["devices"] == 4 and row["stages"][1]["matrix_flops"] > row["stages"][0]["matrix_flops"] > 0
    assert row["memory"]["needed"] < row["memory"]["available"] == int(15.75 * GIB)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--topology=v9:2x2"], "no kind 'v9'; there are v4, v5e, v5p, v6e, 7x"),
        (["--topology=v5e:2x2", "--phases=teach"], "--phases=teach: no such phase; there are teacher, transfer"),
        (["--topology=v5e:2x2", "--config.mesh.preset=ddp"], "mesh.preset='ddp': must be one of dp, fsdp"),
        (["--topology=v5e:2x2", "--config.mesh.fsdp=3"], "does not divide the number of devices, 4"),
        (["--topology=v5e:2x2", "--config.teacher.batch_size=30"], "teacher.batch_size=30: cannot be split"),
        (["--topology=v5e:2x2", "--config.teacher.steps=0"], "teacher.steps=0: must be at least 1"),
        (["--topology=v5e:2x2", "--config.teacher.path=nowhere"], "teacher.path=nowhere: no model folder"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(words, message, monkeypatch, capsys):
    # As many devices as v5e:2x2 has, without libtpu: a mesh is only made of them.
    import jax

    monkeypatch.setattr("mobilebert_jax.recipes.plan.topology_devices", lambda place: jax.devices() * place.devices)
    monkeypatch.setattr("mobilebert_jax.recipes.plan.compile_step", None)
    assert main(["plan", "--config=demo", *words]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and message in error[0]


TOO_LARGE = (
    "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
    "temporaries (20.50G) exceeds available HBM (15.75G). HLO module: jit_step."
)
TOO_LARGE_AS_A_LIST = (
    "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 1.25T of 95.73G hbm. Exceeded hbm capacity by 1T."
)


def test_a_step_that_does_not_fit_says_by_how_much():
    line = "teacher: the step does not fit: it needs 20.50 GiB a device, 4.75 more than the 15.75 there are"
    assert explain("teacher", TOO_LARGE) == line
    assert "needs 1280.00 GiB a device, 1184.27 more" in explain("distill", TOO_LARGE_AS_A_LIST)


def test_other_things_the_compiler_says_are_one_line():
    assert "the step does not compile: INTERNAL: broken" in explain("teacher", "INTERNAL: broken\nat a\nat b")
    assert "in use by another process" in explain("teacher", "ABORTED: libtpu multi-process lockfile")


def test_a_config_without_text_can_be_planned_and_slices_are_replicas():
    config = plannable(load_config("mobilebert", []), 2)
    assert config.mesh.replica == 2
    assert plannable(load_config("mobilebert", ["mesh.replica=4"]), 2).mesh.replica == 4
    with pytest.raises(UserError, match=r"seed=-1"):
        plannable(load_config("mobilebert", ["seed=-1"]), 1)


def test_phases_are_the_config_s_or_those_asked_for():
    config = load_config("mobilebert", [])
    assert planned_phases(config, ()) == ("teacher", "transfer", "distill", "finetune")
    assert planned_phases(config, ("finetune", "teacher")) == ("teacher", "finetune")


def test_what_would_fit_is_compiled_and_named(tiny_run, monkeypatch, capsys):
    """A chip as large as the step that is asked for needs, less a byte."""
    import jax

    words = [f"--config.{name}.batch_size={size}" for name, size in BATCH.items()]
    words = ["plan", "--config=demo", *tiny_run.words, *words, "--topology=v5e:2x1", "--phases=teacher"]
    monkeypatch.setattr(plan, "topology_devices", lambda place: jax.devices() * place.devices)
    needed = {1: 900.0, 2: 500.0, 4: 300.0}

    def compiled(steps, program, layout):
        memory = Memory(int(needed[steps.config.teacher.accumulation] * 2**20), 0, 0, 0)
        return plan.Compiled(memory, (), 0.0)

    cost = StepCost(traffic={}, **dict.fromkeys(StepCost.__dataclass_fields__.keys() - {"traffic"}, 1.0))
    monkeypatch.setattr(plan, "compile_step", compiled)
    monkeypatch.setattr(plan, "step_cost", lambda *_: cost)
    monkeypatch.setattr(PhaseSteps, "held", lambda *_: 0)
    monkeypatch.setitem(CHIPS, "v5e", dataclasses.replace(CHIPS["v5e"], memory=400.0 * 2**20))
    assert main(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mobilebert: ")]
    assert "needs 0.88 GiB a device, 0.49 more than the 0.39 there are" in line
    assert line.endswith("; it fits with --config.teacher.accumulation=4")


def test_fine_tuning_that_the_devices_cannot_share_is_left_out_unless_it_is_asked_for(monkeypatch, capsys):
    import jax

    monkeypatch.setattr(plan, "topology_devices", lambda place: jax.devices() * place.devices)
    row = {"days": 0.0, "seconds": {"step": 0.0}, "memory": {"needed": 0}}
    monkeypatch.setattr(plan, "phase_row", lambda steps, *_: {"phase": steps.name, **row})
    config = load_config("mobilebert", [])

    def names(topology, phases=()):
        told = []
        return [row["phase"] for row in plan_recipe(config, topology, 1, phases, told.append)["phases"]], told

    assert names("v5e:4x4") == (["teacher", "transfer", "distill", "finetune"], [])
    found, told = names("v5e:8x8")
    assert found == ["teacher", "transfer", "distill"]
    assert "its batch of 32 cannot be split over 64 devices" in told[0]
    with pytest.raises(UserError, match=r"finetune\.batch_size=32: cannot be split"):
        names("v5e:8x8", ("finetune",))


def test_the_mean_weighs_stages_by_their_steps():
    def cost(value, traffic):
        return StepCost(traffic=traffic, **dict.fromkeys(StepCost.__dataclass_fields__.keys() - {"traffic"}, value))

    mean = mean_cost([(cost(1.0, {"data": {"all-reduce": 8.0}}), 3), (cost(5.0, {"fsdp": {"all-gather": 4.0}}), 1)])
    assert mean.seconds == mean.flops == 2.0
    assert mean.traffic == {"data": {"all-reduce": 6.0}, "fsdp": {"all-gather": 1.0}}
